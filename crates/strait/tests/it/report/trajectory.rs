//! The ways of solutions through training, and the slider that moves marks along them.

use serde_json::{Value, json};
use strait::{
    Table,
    interval::Interval,
    measure::{BehaviourRow, ComponentRow, Part, TrajectoryRow, TurnRow},
    report::render,
};

use super::fixture::{GENERAL, HIDDEN, NARROW, Outcome, input, tables};

const STEPS: [usize; 5] = [0, 25, 50, 75, 100];

/// What the measures `trajectory` and `turn` might return; the last solution begins late.
fn along(outcomes: &[Outcome]) -> Vec<Table> {
    let last = outcomes.len() - 1;
    let each = || {
        let of = move |place: usize| {
            STEPS.into_iter().skip(usize::from(place == last)).map(move |step| (place, step))
        };
        (0..outcomes.len()).flat_map(of)
    };
    let done = |step: usize| 1.0 - (-(step as f64) / 30.0).exp();
    let way = |(place, step): (usize, usize)| {
        let (general, narrow) = (1.0 - 0.6 * place as f64, 0.3 + 0.3 * place as f64);
        TrajectoryRow {
            solution: outcomes[place].name.into(),
            from: String::new(),
            space: 1,
            step,
            norm: 1.8 * done(step),
            cosine_general: if step == 0 { f64::NAN } else { general },
            cosine_narrow: if step == 0 { f64::NAN } else { narrow },
            first: 1.5 * general * done(step),
            second: narrow * done(step) * done(step),
            third: 0.01 * step as f64,
            composition: f64::NAN,
        }
    };
    let component = |(i, explained): (usize, f64)| ComponentRow {
        space: 1,
        component: i + 1,
        explained,
        standardised: false,
        checkpoints: each().count(),
    };
    let shift = |((place, step), scale): ((usize, usize), f64)| {
        let about = |value: f64| Interval { value, low: value - 0.02, high: value + 0.02 };
        let [inside, outside] =
            [outcomes[place].shifts[0].0, outcomes[place].shifts[0].1].map(|x| x * scale * done(step));
        BehaviourRow {
            solution: outcomes[place].name.into(),
            step,
            scale,
            narrow_shift: about(inside),
            general_shift: about(outside),
            loss_rise: 0.1 * scale,
            coherent: scale < 20.0,
            narrow_pairs: 16,
            general_pairs: 16,
            seed: 0,
        }
    };
    let scaled = each().flat_map(|at| [1.0, 5.0, 10.0, 20.0].map(|scale| (at, scale)));
    let turn = |(place, step): (usize, usize)| TurnRow {
        solution: outcomes[place].name.into(),
        part: Part::Vector,
        step,
        gap: 25,
        length: done(step),
        back: 0.2,
        on: 0.1,
        cosine: -0.4 - 0.001 * step as f64,
        moved: true,
        sharpest: step == 25,
    };
    let middle = each().filter(|(_, step)| (25..100).contains(step));
    vec![
        Table::of(&each().map(way).collect::<Vec<_>>()),
        Table::of(&[0.8, 0.15, 0.03].into_iter().enumerate().map(component).collect::<Vec<_>>()),
        Table::of(&scaled.map(shift).collect::<Vec<_>>()),
        Table::of(&middle.map(turn).collect::<Vec<_>>()),
    ]
}

fn page(outcomes: &[Outcome]) -> String {
    let training = tables(&["solutions", "training"], outcomes);
    render(&input([training, along(outcomes)].concat()))
}

#[test]
fn a_slider_has_a_stop_for_every_step() {
    let page = page(&[GENERAL, NARROW, HIDDEN]);
    let figure =
        page.split("type=\"application/json\"").find(|part| part.contains("\"sliders\"")).expect("a slider");
    let json = figure.split_once('>').unwrap().1.split("</script>").next().unwrap();
    let plot: Value = serde_json::from_str(json).unwrap();
    let slider = &plot["layout"]["sliders"][0];
    let stops = slider["steps"].as_array().unwrap();
    let labels: Vec<_> = stops.iter().map(|stop| stop["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["0", "25", "50", "75", "100"]);
    assert_eq!(slider["active"], 4);
    for stop in stops {
        let [moved, series] = stop["args"].as_array().unwrap().as_slice() else { panic!("{stop}") };
        assert_eq!(
            [&moved["x"], &moved["y"], &moved["hovertext"], series].map(|of| of.as_array().unwrap().len()),
            [3; 4]
        );
        for series in series.as_array().unwrap() {
            assert_eq!(plot["data"][series.as_u64().unwrap() as usize]["marker"]["symbol"], "circle-open");
        }
    }
    // One that begins late waits at its start.
    let third = |stop: usize| &stops[stop]["args"][0]["x"][2];
    assert_eq!(third(0), third(1));
    assert_ne!(third(1), third(2));
    // Where the slider stands, the rings are drawn.
    let rings: Vec<&Value> =
        plot["data"].as_array().unwrap().iter().rev().take(3).rev().map(|ring| &ring["x"]).collect();
    assert_eq!(json!(rings), stops[4]["args"][0]["x"]);
}

mod needs_chromium {
    use super::*;
    use crate::report::browser::{check_page, title};

    /// Clicks at both ends of the slider, and tells in the title which marks each ring then lies around.
    const SLIDE: &str = r#"<script>
// Virtual time has no frames.
window.requestAnimationFrame = (then) => setTimeout(then, 16);
addEventListener("load", async () => {
  const wait = () => new Promise((done) => setTimeout(done, 400));
  await wait();
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const plot = [...document.querySelectorAll(".plot")].find((plot) => plot.querySelector(".slider-rail-touch-rect"));
  plot.scrollIntoView();
  const middle = (node) => { const box = node.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
  const read = () => {
    const traces = [...plot.querySelectorAll(".scatterlayer .trace")].map((node) => [node, node.__data__[0].trace.marker])
      .filter(([, marker]) => marker)
      .map(([node, { symbol, color, size }]) => ({ symbol, colour: color, size, at: [...node.querySelectorAll("path.point")].map(middle) }));
    const apart = ([a, b], [c, d]) => Math.hypot(a - c, b - d);
    const around = traces.filter((trace) => trace.size === 17).map((ring) => {
      const near = traces.filter((trace) => trace !== ring && trace.colour === ring.colour && trace.at.some((at) => apart(at, ring.at[0]) < 1));
      return near.map((trace) => trace.size === 6 ? "between" : trace.symbol.endsWith("-open") ? "start" : "end").join();
    });
    return { around, says: plot.querySelector(".slider-group > text").textContent };
  };
  const click = async (share) => {
    const rail = plot.querySelector(".slider-rail-touch-rect");
    const box = rail.getBoundingClientRect();
    const at = { clientX: box.x + 8 + share * (box.width - 16), clientY: box.y + box.height / 2, bubbles: true };
    rail.dispatchEvent(new MouseEvent("mousedown", at));
    plot.dispatchEvent(new MouseEvent("mouseup", at));
    await wait();
    return read();
  };
  document.title = JSON.stringify([read(), await click(0), await click(0.5), await click(1)]);
});
</script>"#;

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_page_of_trajectories() {
        // Turns; the plane and two lines; two shifts, turns and the gradient of each solution; loss, KL and norm of training.
        check_page("trajectories", &page(&[GENERAL, NARROW, HIDDEN]), 1 + 3 + 3 * 4 + 3);
    }

    #[test]
    #[ignore = "needs Chromium: on the path, or STRAIT_CHROMIUM=FILE"]
    fn the_slider_moves_the_rings() {
        let page = page(&[GENERAL, NARROW, HIDDEN]).replace("</body>", &format!("{SLIDE}</body>"));
        let found: Vec<Value> = serde_json::from_str(&title("slider", &page)).unwrap();
        let around: Vec<&Value> = found.iter().map(|at| &at["around"]).collect();
        let [start, between, end] = ["start", "between", "end"].map(|place| json!(vec![place; 3]));
        assert_eq!(around, [&end, &start, &between, &end]);
        let says: Vec<&Value> = found.iter().map(|at| &at["says"]).collect();
        assert_eq!(says, ["step 100", "step 0", "step 50", "step 100"]);
    }
}

#[test]
#[ignore = "no test: STRAIT_TRAJECTORY_EXAMPLE=FILE writes the page of made-up trajectories there, to be looked at"]
fn example() {
    let path = std::env::var_os("STRAIT_TRAJECTORY_EXAMPLE").expect("STRAIT_TRAJECTORY_EXAMPLE names a file");
    std::fs::write(path, page(&[GENERAL, NARROW, HIDDEN])).unwrap();
}
