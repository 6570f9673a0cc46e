//! Dry runs.

use super::*;

fn in_a_dry_run(rig: &Rig) -> Result<Outcome> {
    rig.bench.consume(&rig.archive, package_changed().dry_run())
}

#[test]
fn a_dry_run_says_what_would_be_written_and_keeps_nothing() {
    let rig = Rig::two();
    assert_eq!(in_a_dry_run(&rig), Ok(Outcome::Done));
    // The bench stands in for a host, which would have refused it.
    assert_eq!(rig.bench.writes().len(), 1);
    assert_eq!(rig.files(), [""; 0]);
    assert!(!rig.dir.path().join("public").exists());
}

#[test]
fn a_dry_run_removes_nothing_of_what_became_private_or_was_deleted() {
    for field in ["private", "state"] {
        let rig = Rig::two();
        rig.run().unwrap();
        let before = rig.files();
        assert_eq!(before.len(), 2);
        rig.edit(|dataset| dataset[field] = if field == "private" { true.into() } else { "deleted".into() });
        in_a_dry_run(&rig).unwrap();
        assert_eq!(rig.files(), before, "{field}");
    }
}
