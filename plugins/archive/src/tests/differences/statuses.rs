//! Each status of ckanext-archiver.

use std::time::Duration;

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "the link works",
        theirs: "0 Archived successfully; a copy, its size, media type and SHA-1",
        ours: || format!("{}; a copy, its size, media type and SHA-256", after(|page| drop(page.body(CSV)))),
        why: "`hash = sha1` gives the old one",
    },
    Case {
        name: "the content is the same as before",
        theirs: "1 Content has not changed; found after a whole download has begun, and nothing is saved",
        ours: || {
            let rig = with_copy();
            rig.bench.forget();
            again(&rig);
            let asked = rig.bench.sent()[0].headers.len();
            format!("{}; asked with {asked} condition, HTTP {}, and saved", said(&rig), rig.record()["http_status"])
        },
        why: "nothing is sent again, and the check is recorded",
    },
    Case {
        name: "a broken link works again, with the same ETag",
        theirs: "stays broken",
        ours: || {
            let rig = with_copy();
            rig.bench.web(URL).fails(Error::retryable("Connection timed out after 30s").with_code("fetch.timeout"));
            again(&rig);
            let rig = mended(rig);
            again(&rig);
            format!("{}; failure_count {}", said(&rig), rig.record()["failure_count"])
        },
        why: "the early way out forgot to save",
    },
    Case {
        name: "no address",
        theirs: "10 URL invalid: URL parsing failure",
        ours: || at("", |_| ()),
        why: "the words are the host's",
    },
    Case {
        name: "an address of an unknown kind, as `gopher:`",
        theirs: "10 URL invalid: Invalid url scheme. Please use one of: ftp http https",
        ours: || at("gopher://data.example/a", |_| ()),
        why: "the list is shorter",
    },
    Case {
        name: "an FTP address",
        theirs: "12 Download error, for it is allowed and then not supported",
        ours: || at("ftp://data.example/a.csv", |_| ()),
        why: "it says what is the matter",
    },
    Case {
        name: "an address inside the host's network",
        theirs: "fetched",
        ours: || fails("fetch.forbidden-address", "forbidden address"),
        why: "CVE-2024-43371",
    },
    Case {
        name: "404",
        theirs: "12 Download error; after 3 more requests, for WMS and WFS",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).status(404);
            rig.run().unwrap();
            format!("{}; after {} more requests", said(&rig), rig.bench.fetched().len() - 1)
        },
        why: "only what looks like a map service is asked like one",
    },
    Case {
        name: "a time-out",
        theirs: "12 Download error: Connection timed out after 30s; after up to 3 more requests",
        ours: || fails("fetch.timeout", "Connection timed out after 30s"),
        why: "",
    },
    Case {
        name: "redirects in a circle",
        theirs: "12 Download error: Too many redirects",
        ours: || after(|page| drop(page.redirect(URL, false))),
        why: "",
    },
    Case {
        name: "a bad certificate",
        theirs: "12 Download error, in the words of OpenSSL",
        ours: || fails("fetch.tls", "the certificate has expired"),
        why: "the host says which it is",
    },
    Case {
        name: "an empty file",
        theirs: "12 Download error: Content-length after streaming was 0",
        ours: || after(|page| drop(page.body(""))),
        why: "",
    },
    Case {
        name: "a file of one byte",
        theirs: "12 Download error: Content-length after streaming was 1",
        ours: || after(|page| drop(page.body("x"))),
        why: "it is there; `bytes_min = 2` makes it an error again",
    },
    Case {
        name: "an exception report of a map service, with status 200",
        theirs: "12 Download error: Server content contained an API error message; and its first 250 characters",
        ours: || after(|page| drop(page.body("<ServiceExceptionReport/>"))),
        why: "",
    },
    Case {
        name: "`{\"error\": {\"code\": …}}`, with status 200",
        theirs: "0 Archived successfully, over the good copy",
        ours: || after(|page| drop(page.body(r#"{"error":{"code":499,"message":"Token Required"}}"#))),
        why: "the good copy stays",
    },
    Case {
        name: "the page of a 404 or of a firewall in the place of a CSV, with status 200",
        theirs: "0 Archived successfully, over the good copy",
        ours: || after(|page| drop(page.body("<html><title>404 Not Found</title></html>"))),
        why: "the good copy stays",
    },
    Case {
        name: "any other page in the place of a CSV",
        theirs: "0 Archived successfully",
        ours: || after(|page| drop(page.body("<!DOCTYPE html><title>Trees</title>"))),
        why: "it is said",
    },
    Case {
        name: "a map service whose address needs `map=` and parameters",
        theirs: "12 Download error, for the parameters are replaced and `map=` is lost",
        ours: || {
            let url = "http://maps.example/cgi?map=a.map";
            let rig = Rig::new(json!([resource(url)]));
            rig.set_resource("format", json!("WMS"));
            rig.bench.web(url).status(400);
            let asked = "http://maps.example/cgi?map=a.map&service=WMS&version=1.3.0&request=GetCapabilities";
            rig.bench.web(asked).body("<WMS_Capabilities/>");
            rig.run().unwrap();
            format!("{}; request_type {}", said(&rig), rig.record()["request_type"].as_str().unwrap())
        },
        why: "vendors' parameters stay",
    },
    Case {
        name: "a file that is too long",
        theirs: "21 Chose not to download: Content-length 1001 exceeds maximum allowed value 1000; counts as a failure",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).body("x".repeat(1001));
            rig.run().unwrap();
            format!("{}; failure_count {}", said(&rig), rig.record()["failure_count"])
        },
        why: "that nobody fetched it does not make it broken",
    },
    Case {
        name: "a file that was uploaded to CKAN",
        theirs: "0 Archived successfully; hashed where CKAN keeps it, no copy",
        ours: || uploaded(json!({})),
        why: "this worker has CKAN's files only through CKAN; `uploads = check` or `skip` keeps no copy",
    },
    Case {
        name: "a file that was uploaded to CKAN and that it does not have",
        theirs: "11 URL request failed (broken)",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.set_resource("url_type", json!("upload"));
            rig.bench.web(URL).status(404);
            rig.run().unwrap();
            said(&rig)
        },
        why: "it is asked for like all others",
    },
    Case {
        name: "an uploaded file, with `uploads = skip`",
        theirs: "21 Chose not to download, where uploads are in a cloud",
        ours: || uploaded(json!({ "uploads": "skip" })),
        why: "what is left out has no record",
    },
    Case {
        name: "429 or 503 that says when to come back",
        theirs: "12 Download error (broken)",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).status(503).retry_after(Duration::from_secs(90));
            rig.run().unwrap();
            format!("{}; comes back after {:?}", said(&rig), rig.bench.rechecks()[PACKAGE_ID])
        },
        why: "a busy server is not broken",
    },
    Case {
        name: "something fails that nobody thought of",
        theirs: "22 Download failure (not known to be broken); until somebody runs it again",
        ours: || failed_run(|rig| drop(rig.bench.web(URL).fails(Error::retryable("no answer").with_code("host")))),
        why: "the queue tries it again",
    },
    Case {
        name: "the disk fails",
        theirs: "23 System error during archival (not known to be broken); until somebody runs it again",
        ours: || {
            failed_run(|rig| {
                rig.bench.web(URL).fails(Error::retryable("no space left").with_code("fetch.disk"));
            })
        },
        why: "the queue tries it again",
    },
];
