use super::{Named, find};

#[derive(Debug)]
struct Thing(&'static str, &'static str);

impl Named for Thing {
    fn id(&self) -> String {
        self.0.to_owned()
    }

    fn name(&self) -> &str {
        self.1
    }
}

fn things() -> Vec<Thing> {
    vec![
        Thing("abcd01", "harvest"),
        Thing("abcd02", "beekeepers"),
        Thing("ef0101", "abcd01"),
        Thing("ef0202", "harvest"),
    ]
}

#[test]
fn id_comes_before_name_and_name_before_beginning() {
    assert_eq!(find(things(), "abcd01", "thing").unwrap().1, "harvest");
    assert_eq!(find(things(), "beekeepers", "thing").unwrap().0, "abcd02");
    assert_eq!(find(things(), "ef02", "thing").unwrap().0, "ef0202");
}

#[test]
fn what_is_not_unique_is_refused() {
    for typed in ["abcd", "harvest", "ef0", "nothing", ""] {
        assert!(find(things(), typed, "thing").is_err(), "{typed}");
    }
}
