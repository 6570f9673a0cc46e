//! What users of ckanext-archiver complain about and ask for.

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "`cache_url_root` is not set",
        theirs: "23 System error during archival, after everything was downloaded",
        ours: || after(|page| drop(page.body(CSV))),
        why: "nobody needs an address to keep a file",
    },
    Case {
        name: "the link of a broken file was redirected",
        theirs: "12 Download error; where to is lost",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).redirect("http://new.example/", true);
            rig.bench.web("http://new.example/").status(404);
            rig.run().unwrap();
            let record = rig.record();
            let (to, for_good) = (&record["url_redirected_to"], &record["redirect_is_permanent"]);
            format!("{}; to {}, for good: {for_good}", said(&rig), to.as_str().unwrap())
        },
        why: "it may be what somebody needs to correct it",
    },
    Case {
        name: "a private dataset",
        theirs: "0 Archived successfully, for everybody to read",
        ours: || changed(|dataset| dataset["private"] = json!(true)),
        why: "what was kept is removed; `private_dir` is a place of its own",
    },
    Case {
        name: "a dataset is deleted",
        theirs: "nothing; the copies stay",
        ours: || changed(|dataset| dataset["state"] = json!("deleted")),
        why: "`deleted = keep` leaves them",
    },
    Case {
        name: "a resource leaves its dataset",
        theirs: "nothing; the copy stays",
        ours: || changed(|dataset| dataset["resources"] = json!([])),
        why: "`deleted = keep` leaves it",
    },
    Case {
        name: "the title of a dataset is edited",
        theirs: "all its files are downloaded again",
        ours: || {
            let rig = with_copy();
            rig.bench.forget();
            rig.edit(|dataset| dataset["title"] = json!("Trees, renamed"));
            rig.run().unwrap();
            format!("{} requests", rig.bench.fetched().len())
        },
        why: "only what concerns a file leads to a look at it",
    },
    Case {
        name: "a file changes, and CKAN knows nothing of it",
        theirs: "found when cron runs the next time",
        ours: || {
            let days = [0, 3, 30, 365];
            let waits: Vec<String> = days.into_iter().map(|days| format!("{} h", wait_after(days))).collect();
            format!("looked at again after {}: the longer it has been the same", waits.join(", "))
        },
        why: "nobody sets up cron",
    },
    Case {
        name: "CKAN finds the dataset invalid",
        theirs: "its older versions fail; later ones write nothing to it",
        ours: || {
            let rig = Rig::new(json!([resource(URL)]));
            rig.bench.web(URL).body(CSV);
            rig.bench
                .ckan()
                .fail("package_revise", Error::permanent("title: Missing value").with_code("ckan.validation"));
            rig.run().unwrap();
            format!("{}; {}", said(&rig), rig.record()["not_stored"].as_str().unwrap())
        },
        why: "the record is kept here all the same",
    },
    Case {
        name: "links are to be checked, and nothing stored",
        theirs: "not possible",
        ours: || {
            let rig = Rig::set(json!({ "mode": "check" }), json!([resource(URL)]));
            rig.bench.web(URL).body(CSV);
            rig.run().unwrap();
            said(&rig)
        },
        why: "`mode = check`",
    },
    Case {
        name: "a host asks to be left alone",
        theirs: "not possible",
        ours: || {
            let mut rig = with_copy();
            rig.reset(json!({ "exclude_hosts": "data.example" }));
            rig.run().unwrap();
            said(&rig)
        },
        why: "`exclude_hosts`, and more of the kind",
    },
    Case {
        name: "a password in the address",
        theirs: "stands in reasons and reports",
        ours: || {
            let url = "http://me:secret@data.example/a.csv";
            let rig = Rig::new(json!([resource(url)]));
            rig.bench.web(url).status(401);
            rig.run().unwrap();
            format!("{}; url {}", said(&rig), rig.record()["url"].as_str().unwrap())
        },
        why: "reports are for everybody",
    },
];
