//! A table declared, read and described.

use serde_json::{Value, json};

use super::*;

keys! {
    /// A file of the tests.
    #[derive(Clone, Debug)]
    struct Kitchen {
        /// Who cooks.
        cook: String = word(), required;
        /// The oven's degrees,
        /// Celsius.
        heat: f64 = number(0.0..=300.0), default 180.0;
        /// Of the dishes.
        minutes: Several<usize> = several(count(1..=90)), left_out "until it is done";
        /// Soup.
        soup: Option<Soup> = switch("{ salt = 1 }"), default Some(Soup::default());
        /// Guests.
        guest: Vec<At<Guest>> = tables("guest"), default Vec::new();
        ..pantry: Pantry;
    }
}

keys! {
    #[derive(Clone, Debug, Default)]
    struct Soup {
        /// Grams.
        salt: f64 = positive(10.0), default 1.0;
        /// The input.
        roots: Vec<Root> = list(choice(&ROOTS)), default vec![Root::Leek];
    }
}

keys! {
    #[derive(Clone, Debug)]
    struct Guest {
        /// Their name.
        name: String = text(), required;
    }
}

keys! {
    #[derive(Clone, Debug, Default)]
    struct Pantry {
        /// Bags of flour.
        flour: u64 = whole(), default 2;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    Leek,
    Beet,
}

const ROOTS: [(&str, Root); 2] = [("leek", Root::Leek), ("beet", Root::Beet)];

fn kitchen(text: &str) -> Checked<Kitchen> {
    parse(text, "the kitchen")
}

#[test]
fn values_have_their_lines_and_defaults() {
    let found =
        kitchen("cook = 'a'\nminutes = [\n 3,\n 4]\nsoup = { salt = 2 }\n[[guest]]\nname = 'b'").unwrap();
    assert_eq!((found.cook.value.as_str(), found.cook.line), ("a", 1));
    let minutes = found.minutes.clone().unwrap();
    let each: Vec<_> = minutes.value.iter().map(|at| (at.value, at.line)).collect();
    assert_eq!((minutes.line, *minutes.value.first(), each), (2, 3, vec![(3, 3), (4, 4)]));
    assert_eq!((found.heat(), found.pantry.flour()), (180.0, 2));
    let soup = found.soup().unwrap();
    assert_eq!((soup.salt(), soup.roots()), (2.0, vec![Root::Leek]));
    assert_eq!((found.guest()[0].value.name.value.as_str(), found.guest()[0].line), ("b", 6));
    assert_eq!(found.given(), [("cook", 1), ("minutes", 2), ("soup", 5), ("guest", 6)]);

    let other = kitchen("cook = 'b'\nheat = 200\nminutes = 9\nsoup = false\nflour = 1").unwrap();
    assert!(other.soup().is_none() && kitchen("cook = 'a'\nsoup = true").unwrap().soup().is_some());
    let both = found.or(&other);
    assert_eq!((both.cook.value.as_str(), both.heat(), both.pantry.flour()), ("a", 200.0, 1));
    assert_eq!(both.minutes.unwrap().value.iter().count(), 2);
}

#[test]
fn faults_are_named_with_their_lines() {
    for (text, line, expected) in [
        ("cook = ", Some(1), "not TOML: string values must be quoted, expected literal string"),
        ("", None, "the kitchen has no `cook`"),
        ("\nhaet = 1", Some(2), "unknown key `haet` in the kitchen; the nearest known key is `heat`"),
        ("floor = 1", Some(1), "unknown key `floor` in the kitchen; the nearest known key is `flour`"),
        ("cook = ' '", Some(1), "`cook` is the text \" \", expected text that is not empty"),
        ("heat = 1e-60", Some(1), "`heat` is 1e-60, expected a number from 0 to 300"),
        ("soup = 3", Some(1), "`soup` is 3, expected true, false, or a table such as { salt = 1 }"),
        ("soup.salt = 0", Some(1), "`soup.salt` is 0, expected a number greater than 0, 10 at most"),
        ("soup.slat = 1", Some(1), "unknown key `slat` in `[soup]`; the nearest known key is `salt`"),
        ("soup.roots = []", Some(1), "`soup.roots` is an empty list, expected at least one entry"),
        ("minutes = [3,\n3]", Some(2), "`minutes` holds 3 twice"),
        ("minutes = [\n 0]", Some(2), "an entry of `minutes` is 0, expected a whole number from 1 to 90"),
        ("[[guest]]", Some(1), "`[[guest]]` has no `name`"),
        ("[guest]", Some(1), "`guest` is a table, expected tables of their own, each headed `[[guest]]`"),
    ] {
        let fault = kitchen(text).unwrap_err();
        assert_eq!((fault.line, fault.problem.to_string().as_str()), (line, expected), "{text}");
    }
}

#[test]
fn the_schema_is_that_of_the_declaration() {
    let schema = schema("A kitchen", &Kitchen::keys());
    let of = |key: &str| schema["properties"][key].clone();
    assert_eq!(schema["required"], json!(["cook"]));
    assert_eq!(
        of("heat"),
        json!({ "type": "number", "minimum": 0, "maximum": 300, "description": "The oven's degrees, Celsius.", "default": 180 })
    );
    let count = json!({ "type": "integer", "minimum": 1, "maximum": 90 });
    let either = json!([count, { "type": "array", "items": count, "minItems": 1 }]);
    assert_eq!((of("minutes")["anyOf"].clone(), of("minutes")["default"].clone()), (either, Value::Null));
    assert_eq!(of("soup")["anyOf"][0], json!({ "type": "boolean" }));
    let roots = of("soup")["anyOf"][1]["properties"]["roots"].clone();
    assert_eq!(
        (&roots["items"], &roots["default"]),
        (&json!({ "enum": ["leek", "beet"] }), &json!(["leek"]))
    );
    assert_eq!(of("guest")["items"]["required"], json!(["name"]));
    assert!(Kitchen::keys().iter().all(|key| key.shared == (key.name == "flour")));
}
