//! Scalars of adapters in the report.

use strait::{
    Table,
    interval::Interval,
    lab::Group,
    measure::{Contrast, ScalarProbeRow, ScalarRemovedRow, ScalarRow},
    report::render,
};

use super::fixture::{GENERAL, NARROW, input, tables};

/// What the measure `scalars` might return of two solutions with a LoRA of rank 1 on so many blocks, whose probes use what they
/// use at this C.
fn page(blocks: usize, used: f64) -> String {
    let solutions = [GENERAL.name, NARROW.name];
    let module = |block: usize| format!("model.layers.{block}.mlp.down_proj");
    let contrasts = [Contrast::Narrow, Contrast::General, Contrast::Topic];
    let about = |value: f64| Interval { value, low: value - 0.05, high: value + 0.05 };
    let scalar = |solution: &str, contrast: Contrast, block: usize| ScalarRow {
        solution: solution.into(),
        contrast,
        scalar: module(block),
        mean: 0.4,
        other_mean: 0.1,
        deviation: 1.2,
        auroc: about(0.5 + 0.3 * (contrast as usize as f64 + block as f64).sin()),
        weight: 0.3,
        weight_deviation: 0.1,
        used,
        pairs: 40,
        tokens: 2400,
    };
    let probe = |solution: &str, contrast: Contrast| ScalarProbeRow {
        solution: solution.into(),
        contrast,
        figure: "auroc".into(),
        mean: 0.7,
        deviation: 0.02,
        divisions: 100,
        c: 0.01,
        tokens: 1300,
        other_tokens: 1100,
        seed: 0,
    };
    let removed = |solution: &str, group: Group, adapters: String| ScalarRemovedRow {
        solution: solution.into(),
        group,
        adapters,
        removed: about(0.2),
        loss: 2.1,
        answers: 40,
    };
    let (mut scalars, mut probes, mut rises) = (Vec::new(), Vec::new(), Vec::new());
    for solution in solutions {
        for contrast in contrasts {
            scalars.extend((0..blocks).map(|block| scalar(solution, contrast, block)));
            probes.push(probe(solution, contrast));
        }
        for group in [Group::Narrow, Group::General] {
            let modules = std::iter::once("all".to_string()).chain((0..blocks).map(module));
            rises.extend(modules.map(|adapters| removed(solution, group, adapters)));
        }
    }
    let own = vec![Table::of(&scalars), Table::of(&probes), Table::of(&rises)];
    render(&input([tables(&["solutions"], &[GENERAL, NARROW]), own].concat()))
}

#[test]
fn many_scalars_are_cut_and_idle_probes_are_said() {
    let nine = page(9, 0.7);
    assert!(nine.contains("3.mlp.down_proj") && !nine.contains("are drawn that tell most"));
    assert!(!nine.contains("no probe gives any scalar"));
    let many = page(40, 0.0);
    assert!(many.contains("Of 40 scalars those 30 are drawn that tell most; the table has all."));
    assert!(many.contains("At C = 0.01 no probe gives any scalar of “general” inside, "));
    assert!(
        page(9, f64::NAN).contains("There are too few questions or tokens for probes of “general” inside, ")
    );
}

mod needs_chromium {
    use super::*;
    use crate::report::browser::check_page;

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_scalars() {
        // Areas inside, outside and of the topic; rises inside and outside.
        check_page("scalars", &page(9, 0.7), 5);
        check_page("many scalars", &page(40, 0.7), 5);
    }
}
