//! Map services, and errors that come with the status of a success.

use super::*;

const BASE: &str = "http://maps.example/ows";
const WMS_1_3: &str = "http://maps.example/ows?service=WMS&version=1.3.0&request=GetCapabilities";
const WMS_1_1: &str = "http://maps.example/ows?service=WMS&version=1.1.1&request=GetCapabilities";
const CAPABILITIES: &str = "<?xml version=\"1.0\"?><WMS_Capabilities version=\"1.3.0\"/>";
const EXCEPTION: &str = "<?xml version=\"1.0\"?><ServiceExceptionReport><x/></ServiceExceptionReport>";

fn service(format: &str, url: &str) -> Rig {
    let rig = Rig::new(json!([resource(url)]));
    rig.set_resource("format", json!(format));
    rig
}

#[test]
fn a_service_whose_address_is_an_error_is_asked_for_its_capabilities() {
    let rig = service("WMS", BASE);
    rig.bench.web(BASE).body(EXCEPTION);
    rig.bench.web(WMS_1_3).body(CAPABILITIES);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({
        "status_id": 0, "is_broken": false, "request_type": "WMS 1.3", "mimetype": "application/xml", "reason": "",
    }));
    assert_eq!(rig.bench.fetched(), [BASE, WMS_1_3]);
    assert_eq!(rig.files(), ["archive.json", "ows"]);
}

#[test]
fn an_older_version_is_asked_for_next() {
    let rig = service("WMS", BASE);
    rig.bench.web(BASE).status(400);
    rig.bench.web(WMS_1_3).body(EXCEPTION);
    rig.bench.web(WMS_1_1).body("<WMT_MS_Capabilities version=\"1.1.1\"/>");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "request_type": "WMS 1.1.1" }));
}

#[test]
fn where_no_way_of_asking_helps_the_first_error_is_the_one_to_tell() {
    let rig = service("WMS", BASE);
    rig.bench.web(BASE).status(404);
    rig.bench.web(WMS_1_3).status(500);
    rig.bench.web(WMS_1_1).body("<!DOCTYPE html><title>Welcome</title>");
    assert_eq!(rig.run(), done());
    let reason = "Server reported status error: 404";
    rig.check_record(json!({ "status_id": 12, "reason": reason, "http_status": 404, "request_type": "GET" }));
    assert_eq!(rig.bench.fetched().len(), 3);
}

#[test]
fn the_vendors_parameters_stay() {
    let url = "http://maps.example/cgi?map=/srv/a.map";
    let asked = "http://maps.example/cgi?map=%2Fsrv%2Fa.map&service=WFS&version=2.0.0&request=GetCapabilities";
    let rig = service("WFS", url);
    rig.bench.web(url).status(400);
    rig.bench.web(asked).body("<wfs:WFS_Capabilities/>");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "request_type": "WFS 2.0" }));
}

#[test]
fn an_arcgis_server_is_asked_for_json() {
    let url = "http://maps.example/arcgis/rest/services/Trees/MapServer";
    let rig = service("", url);
    rig.bench.web(url).status(403);
    rig.bench.web("http://maps.example/arcgis/rest/services/Trees/MapServer?f=json").body("{\"currentVersion\": 11}");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "request_type": "ArcGIS REST", "mimetype": "application/json" }));
}

#[test]
fn a_file_that_is_missing_is_asked_for_once() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).status(404);
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [URL]);
}

#[test]
fn a_service_that_does_not_answer_is_asked_once() {
    let rig = service("WMS", BASE);
    rig.bench.web(BASE).fails(Error::retryable("Connection timed out after 30s").with_code("fetch.timeout"));
    assert_eq!(rig.run(), done());
    assert_eq!(rig.bench.fetched(), [BASE]);
}

#[test]
fn what_answers_like_a_service_is_asked_like_one_whatever_was_declared() {
    let rig = service("", BASE);
    rig.bench.web(BASE).body("<ows:ExceptionReport/>");
    let wfs = "http://maps.example/ows?service=WFS&version=2.0.0&request=GetCapabilities";
    rig.bench.web(wfs).body("<wfs:WFS_Capabilities/>");
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "request_type": "WFS 2.0" }));
    assert_eq!(rig.bench.fetched(), [BASE, WMS_1_3, WMS_1_1, wfs]);
}

#[test]
fn a_service_that_answers_an_error_again_is_broken_again_and_keeps_its_copy() {
    let rig = service("WMS", BASE);
    rig.bench.web(BASE).body(EXCEPTION);
    rig.bench.web(WMS_1_3).body(CAPABILITIES).etag("\"e\"");
    assert_eq!(rig.run(), done());
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    assert!(rig.bench.sent().iter().all(|sent| sent.headers.is_empty()), "the mark is of another address");
    rig.check_record(json!({ "status_id": 1 }));
    rig.bench.web(WMS_1_3).status(500);
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 12, "size": CAPABILITIES.len() }));
    assert_eq!(rig.files(), ["archive.json", "ows"]);
}

#[test]
fn a_service_whose_link_is_only_looked_at_is_read_far_enough_to_tell() {
    let rig = Rig::set(json!({ "mode": "check" }), json!([resource(BASE)]));
    rig.set_resource("format", json!("WMS"));
    rig.bench.web(BASE).body(EXCEPTION);
    rig.bench.web(WMS_1_3).body(CAPABILITIES);
    assert_eq!(rig.run(), done());
    rig.check_record(json!({ "status_id": 0, "request_type": "WMS 1.3", "hash": null }));
    rig.bench.web(WMS_1_3).body(EXCEPTION);
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    rig.check_record(json!({ "status_id": 12, "reason": "Server content contained an API error message" }));
}

#[test]
fn an_error_object_in_the_place_of_data_is_broken_and_the_copy_stays() {
    let rig = Rig::new(json!([resource(URL)]));
    rig.set_resource("format", json!("JSON"));
    rig.bench.web(URL).body("{\"a\": 1}");
    assert_eq!(rig.run(), done());
    rig.bench.web(URL).body(r#"{"error":{"code":498,"message":"Invalid token"}}"#);
    rig.come_due();
    assert_eq!(rig.recheck(), done());
    let reason = "Server content contained an API error message: 498 Invalid token";
    rig.check_record(json!({ "status_id": 12, "reason": reason, "size": 8 }));
    assert_eq!(rig.files(), ["archive.json", "trees.csv"]);
}
