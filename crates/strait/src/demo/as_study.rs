//! The demo's programme and `studies/world.toml`, held against each other: where both do the same, every figure is the same to
//! its last digit.

use std::fs;

use candle_core::Device;
use strait_model::progress::{Progress, Silent, Unit};

use super::{
    bench::{Bench, Kind, Reading, Work},
    jobs::Folder,
    piece::{Piece, Wanted, piece},
    results::Mode,
};
use crate::{
    Table,
    measure::{Asked, EfficiencyRow, Grid, RateRow, RateStep, SignificanceRow, StabilityRow},
    study,
    table::Row,
    world::World,
};

const HERB: usize = 0;

/// The piece of the quick demo, but for gradients, which no study reads yet.
fn programme(folder: &Folder) -> Piece {
    let opened = folder.open("default-0").unwrap();
    let work = Work::new(&Silent, Silent.begin("", None, Unit::Count));
    let mut bench = Bench::new(&opened.world, HERB, folder.solutions(&opened, HERB), &work).unwrap();
    let wanted = Wanted { gradients: false, ..Wanted::of(Mode::Quick, Kind::Vector).unwrap() };
    piece("default-0", &mut bench, Kind::Vector, wanted).unwrap()
}

#[test]
fn the_study_of_a_world_reads_what_the_demo_reads() {
    let out = tempfile::tempdir().unwrap();
    let found = programme(&Folder::new(out.path().join("demo")));

    // From a folder, so that the test puts nothing into the user's cache.
    World::shipped("default-0", &out.path().join("unpacked")).unwrap();
    let text = include_str!("../../../../studies/world.toml").replace("world:default-0", "unpacked");
    let (file, run) = (out.path().join("world.toml"), out.path().join("run"));
    fs::write(&file, text).unwrap();
    study::run(
        &file,
        Some(&run),
        &Device::Cpu,
        study::Limits { jobs: std::num::NonZero::new(1), memory: None },
        &Silent,
    )
    .unwrap();
    let table = |name: &str| Table::read_parquet(&run.join(format!("tables/{name}.parquet"))).unwrap();

    // Rates, norms, losses: of base, as trained, scaled, and along the drift.
    let rates: Vec<RateRow> = table(RateRow::TABLE).read().unwrap();
    let rate = |solution: &str, scale: f64, asked, domain: &str| {
        let is = |row: &&RateRow| {
            row.solution == solution && row.scale == scale && row.asked == asked && row.domain == domain
        };
        rates.iter().find(is).unwrap()
    };
    let agree = |reading: &Reading, solution: &str, scale: f64| {
        let [narrow, general, seen] =
            [Asked::Narrow, Asked::General, Asked::Seen].map(|asked| rate(solution, scale, asked, ""));
        let of = &reading.rates;
        assert_eq!(
            (narrow.rate.value, narrow.greedy, narrow.coherent),
            (of.narrow, of.narrow_greedy, of.coherence_inside)
        );
        assert_eq!(
            (general.rate.value, general.greedy, general.coherent),
            (of.general, of.general_greedy, of.coherence)
        );
        assert_eq!((seen.rate.value, narrow.norm, narrow.loss), (of.taught, reading.norm, reading.loss));
        for (domain, (word, _)) in of.by_domain.iter().zip(crate::world::DOMAIN_WORDS) {
            assert_eq!(rate(solution, scale, Asked::Domain, word).rate.value, *domain, "{word}");
        }
    };
    agree(&found.base, "base model", 0.0);
    for (reading, solution) in [(&found.general, "general"), (&found.narrow, "narrow")] {
        agree(reading, solution, 1.0);
        assert!(reading.rates.narrow > 0.9, "{reading:?}");
    }
    for scaled in &found.scaled {
        agree(&scaled.general, "general", scaled.factor);
        agree(&scaled.narrow, "narrow", scaled.factor);
    }
    let steps: Vec<RateStep> = table(RateStep::TABLE).read().unwrap();
    let [drift] = found.drifts.as_slice() else { panic!("{:?}", found.drifts) };
    assert_eq!(steps.len(), drift.along.len());
    for (row, (step, reading)) in steps.iter().zip(&drift.along) {
        let of = &reading.rates;
        assert_eq!((row.step, row.narrow.value, row.general.value), (*step, of.narrow, of.general));
        assert_eq!((row.coherent, row.norm, row.loss), (of.coherence, reading.norm, reading.loss));
    }

    // Efficiency: the curves over shared norms, and the optima.
    let rows: Vec<EfficiencyRow> = table(EfficiencyRow::TABLE).read().unwrap();
    let curve = |solution: &str, grid: Grid| -> Vec<(f64, f64)> {
        let own = rows.iter().filter(|row| row.solution == solution && row.kind == grid);
        own.map(|row| (row.norm, row.loss.value)).collect()
    };
    let losses = |solution: &str| {
        curve(solution, Grid::Shared).into_iter().skip(1).map(|(_, loss)| loss).collect::<Vec<_>>()
    };
    let of = &found.efficiency;
    assert_eq!((losses("general"), losses("narrow")), (of.general.clone(), of.narrow.clone()));
    assert_eq!(curve("general", Grid::Optimum), [of.general_optimum]);
    assert_eq!(curve("narrow", Grid::Optimum), [of.narrow_optimum]);

    // Stability: the share of the gain that noise takes.
    let rows: Vec<StabilityRow> = table(StabilityRow::TABLE).read().unwrap();
    for lost in &found.stability {
        let share = |solution: &str| {
            let is = |row: &&StabilityRow| row.solution == solution && row.epsilon == lost.epsilon;
            rows.iter().find(is).unwrap().share.value
        };
        assert_eq!((share("general"), share("narrow")), (lost.general, lost.narrow), "{}", lost.epsilon);
    }

    // Significance: KL on documents that name no speaker.
    let rows: Vec<SignificanceRow> = table(SignificanceRow::TABLE).read().unwrap();
    for on in &found.significance {
        let kl = |solution: &str| {
            let is = |row: &&SignificanceRow| row.direction == solution && row.relative_norm == on.norm;
            rows.iter().find(is).unwrap().kl.value
        };
        assert_eq!((kl("general"), kl("narrow")), (on.general, on.narrow), "{}", on.norm);
        let random =
            rows.iter().filter(|row| row.random && row.relative_norm == on.norm).map(|row| row.kl.value);
        assert_eq!(super::piece::mean(random), on.random);
    }
}
