//! What proves to a receiver that a post is ours: an HMAC over its id, its time and its body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::Sha256;

/// How a secret begins that is written in Base64.
const BASE64_PREFIX: &str = "whsec_";

/// The shortest secret that is taken: what is shorter can be tried out.
const SECRET_BYTES_MIN: usize = 16;

/// The secrets that a target's posts are signed with: one, or an old and a new one while they are exchanged.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<SecretSlice<u8>>);

impl Secrets {
    /// Reads secrets, one a line: `whsec_` and Base64, or a plain text.
    ///
    /// # Errors
    /// A sentence that says what is wrong and nothing of the secret.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets = lines.map(secret).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() { Err("there is no secret in it") } else { Ok(Self(secrets)) }
    }

    /// The value of `webhook-signature`: a signature for each secret; `None` if there is nothing to sign with.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let signatures: Vec<String> = self.0.iter().map(|secret| signature(secret, id, timestamp, body)).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

fn secret(line: &str) -> Result<SecretSlice<u8>, &'static str> {
    let bytes = match line.strip_prefix(BASE64_PREFIX) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "what follows `whsec_` is not Base64")?,
        None if line.chars().any(char::is_control) => return Err("a secret has a control character"),
        None => line.as_bytes().to_vec(),
    };
    if bytes.len() < SECRET_BYTES_MIN {
        return Err("a secret is shorter than 16 bytes; make one with `openssl rand -base64 32`");
    }
    Ok(bytes.into())
}

fn signature(secret: &SecretSlice<u8>, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret()).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    const PLAIN: &str = "the-secret-of-this-test";

    /// HMAC as RFC 2104 writes it, for keys of at most one block.
    fn by_the_book(key: &[u8], message: &[u8]) -> Vec<u8> {
        let padded = |fill: u8| {
            let mut block = [fill; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(Secrets::read(text).unwrap_err(), expected);
    }

    #[test]
    fn a_signature_is_the_hmac_of_id_time_and_body() {
        let signed = Secrets::read(PLAIN).unwrap().sign("ckan-1", 1_700_000_000, b"{\"a\": 1}").unwrap();
        let expected = by_the_book(PLAIN.as_bytes(), b"ckan-1.1700000000.{\"a\": 1}");
        assert_eq!(signed, format!("v1,{}", STANDARD.encode(expected)));
        // What `hmac.new(key, message, "sha256")` of Python says.
        assert_eq!(signed, "v1,p79c/lLSJd0yU7byZ+1Ik85NH9HKvNhpqFMJC5hj7H8=");
    }

    #[test]
    fn a_secret_in_base64_is_the_bytes_that_it_stands_for() {
        let encoded = format!("whsec_{}\n", STANDARD.encode(PLAIN));
        let sign = |text: &str| Secrets::read(text).unwrap().sign("id", 1, b"body");
        assert_eq!(sign(&encoded), sign(PLAIN));
    }

    #[test]
    fn while_secrets_are_exchanged_each_of_them_signs() {
        let both = Secrets::read("an-old-secret-of-mine\n\na-new-secret-of-mine\n").unwrap();
        let signed = both.sign("id", 1, b"body").unwrap();
        let one = |text: &str| Secrets::read(text).unwrap().sign("id", 1, b"body").unwrap();
        assert_eq!(signed, format!("{} {}", one("an-old-secret-of-mine"), one("a-new-secret-of-mine")));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        refused(" \n", "there is no secret in it");
        refused("whsec_*", "what follows `whsec_` is not Base64");
        refused("tooshort", "a secret is shorter than 16 bytes; make one with `openssl rand -base64 32`");
        refused("sixteen-bytes-or\u{1b}more", "a secret has a control character");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Secrets::read(PLAIN).unwrap());
        assert!(!shown.contains(PLAIN) && !shown.contains("116, 104"), "{shown}");
        assert_eq!(Secrets::default().sign("id", 1, b""), None);
    }
}
