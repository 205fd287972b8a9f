//! Studies with holes: `{{name}}` in the text of a study stands for a value.

use super::Problem;

/// The text with every hole filled by the value of its name.
///
/// # Errors
/// If a hole has no value, a value has no hole, or a hole is not closed.
pub fn fill(text: &str, values: &[(&str, &str)]) -> Result<String, Problem> {
    let mut filled = String::with_capacity(text.len());
    let mut used = vec![false; values.len()];
    let mut rest = text;
    while let Some((before, hole)) = rest.split_once("{{") {
        let line = 1 + text[..text.len() - hole.len()].matches('\n').count() as u64;
        let closed = hole.split_once("}}").filter(|(name, _)| !name.contains('\n'));
        let Some((name, after)) = closed else { return Err(Problem::OpenHole { line }) };
        let name = name.trim();
        let place = values.iter().position(|(known, _)| *known == name);
        let Some(place) = place else {
            let known = values.iter().map(|(name, _)| (*name).into()).collect();
            return Err(Problem::NoValue { hole: name.into(), line, known });
        };
        used[place] = true;
        filled.push_str(before);
        filled.push_str(values[place].1);
        rest = after;
    }
    if let Some(place) = used.iter().position(|used| !used) {
        return Err(Problem::NoHole { name: values[place].0.into() });
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Every combination of some values, the first name's changing slowest.
pub fn combinations(values: &[(String, Vec<String>)]) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for (name, choices) in values {
        let with = |before: &Vec<(String, String)>| {
            let one = |choice: &String| [before.as_slice(), &[(name.clone(), choice.clone())]].concat();
            choices.iter().map(one).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

/// A value as a part of a name of files.
pub fn named(value: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    value.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_and_nothing_else_is_changed() {
        let text = "a = { b = \"{{ x }}\" }\nc = {{y}}{{y}}";
        assert_eq!(fill(text, &[("x", "1"), ("y", "2")]), Ok("a = { b = \"1\" }\nc = 22".into()));
        // A value may hold what looks like a hole.
        assert_eq!(fill("{{x}}", &[("x", "{{x}}")]), Ok("{{x}}".into()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let known = vec!["x".to_string()];
        assert_eq!(
            fill("\n{{z}}", &[("x", "1")]),
            Err(Problem::NoValue { hole: "z".into(), line: 2, known })
        );
        assert_eq!(fill("a", &[("x", "1")]), Err(Problem::NoHole { name: "x".into() }));
        assert_eq!(fill("\n\n{{x\n}}", &[("x", "1")]), Err(Problem::OpenHole { line: 3 }));
    }

    #[test]
    fn every_combination_is_made_once() {
        let values = [("a".into(), vec!["1".into(), "2".into()]), ("b".into(), vec!["x".into(), "y".into()])];
        let all: Vec<String> =
            combinations(&values).iter().map(|c| c.iter().map(|(_, v)| v.as_str()).collect()).collect();
        assert_eq!(all, ["1x", "1y", "2x", "2y"]);
    }
}
