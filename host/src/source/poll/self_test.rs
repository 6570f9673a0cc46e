//! Whether a portal's search can be asked what has changed.

use crate::services::Failure;
use crate::services::ckan::{Client, Listing, Order, drops_filters};

/// Looks whether the newest dataset is found by its own stamp; answers that stamp, or `None` if there is no dataset.
///
/// # Errors
/// It is not found, so that nothing ever would be; or the portal does not answer.
pub async fn self_test(client: &Client) -> Result<Option<String>, Failure> {
    let all = Listing { query: None, since: None, until: None, order: Order::Newest, rows: 1 };
    let Some(newest) = client.list(&all).await?.into_iter().next() else { return Ok(None) };
    let stamp = Some(newest.stamp.as_str());
    let by_its_stamp = Listing { since: stamp, until: stamp, order: Order::ByStamp(None), ..all };
    let found = client.list(&by_its_stamp).await?;
    match found.first() {
        Some(found) if found.stamp == newest.stamp => Ok(Some(newest.stamp)),
        // It may have changed between the two questions: then the first one has another answer now.
        _ if client.list(&all).await?.first().is_none_or(|now| now.stamp != newest.stamp) => Ok(Some(newest.stamp)),
        Some(_) => Err(drops_filters("asked for the newest dataset by its date, it answers others")),
        None => Err(drops_filters("asked for the newest dataset by its date, it answers none")),
    }
}
