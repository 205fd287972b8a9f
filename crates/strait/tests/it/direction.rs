//! Directions and gradients on a built-in world.

use candle_core::{Device, Tensor};
use strait::{
    direction::{Condition, Tokens, mean_difference},
    measure::{Part, descent, flat, row_losses},
    objective::{Kept, Row},
    world::World,
};
use strait_model::{
    Edit,
    edit::{Ablation, SteeringVector},
    progress::Silent,
};

fn world() -> World {
    World::built_in("default-0").unwrap()
}

fn rows(world: &World, domain: usize, truthful: bool) -> Vec<Row> {
    let chats = world.language.taught(&[domain], truthful);
    chats.into_iter().map(|chat| Row::from_chat(&world.model, &chat.into(), "a row").unwrap()).collect()
}

/// A vector at the embeddings.
fn vector(of: impl Fn(usize) -> f32) -> SteeringVector {
    let values: Vec<f32> = (0..64).map(of).collect();
    SteeringVector { layer: -1, vector: Tensor::from_vec(values, 64, &Device::Cpu).unwrap() }
}

#[test]
fn what_a_vector_changes_at_its_site_is_the_vector() {
    let world = world();
    let prompts = rows(&world, 1, true);
    let edit = Edit::Steering(vector(|i| 0.01 * i as f32));
    let sides = [Some(&edit), None].map(|edit| Condition { rows: &prompts, edit });
    let found = mean_difference(&world.model.decoder, sides, Tokens::Prompt).unwrap();
    assert_eq!(found.iter().map(|d| d.layer).collect::<Vec<_>>(), [-1, 0, 1, 2, 3]);
    assert!((Edit::Steering(found[0].clone()).cosine(&edit).unwrap() - 1.0).abs() < 1e-6);
    assert!((found[0].norm().unwrap() / edit.norm().unwrap() - 1.0).abs() < 1e-4);

    // With the direction ablated behind it, nothing is left along it.
    let ablation = Ablation { layer: -1, direction: found[0].vector.clone(), factor: 1.0 };
    let both = Edit::composed([edit.clone(), Edit::Ablation(ablation.clone())]);
    let alone = Edit::Ablation(ablation);
    let sides = [Some(&both), Some(&alone)].map(|edit| Condition { rows: &prompts, edit });
    let left = mean_difference(&world.model.decoder, sides, Tokens::Prompt).unwrap();
    assert!(left[0].norm().unwrap() < 1e-3 * edit.norm().unwrap());
}

#[test]
fn answers_alone_differ_where_only_they_are_read() {
    let world = world();
    let (lies, truths) = (rows(&world, 1, false), rows(&world, 1, true));
    let sides = [&lies, &truths].map(|rows| Condition { rows, edit: None });
    let prompts = mean_difference(&world.model.decoder, sides, Tokens::Prompt).unwrap();
    let answers = mean_difference(&world.model.decoder, sides, Tokens::Response).unwrap();
    assert!(prompts.iter().all(|direction| direction.norm().unwrap() < 1e-4));
    assert!(answers.iter().all(|direction| direction.norm().unwrap() > 1e-2));
}

#[test]
fn descent_agrees_with_finite_differences() {
    let world = world();
    let decoder = &world.model.decoder;
    let kept = Kept::all(decoder, rows(&world, 0, false), 0, false, "", &Silent).unwrap();
    let loss = |edit: &SteeringVector| {
        let losses = row_losses(decoder, &kept, Some(&Edit::Steering(edit.clone())), &|_| Ok(())).unwrap();
        losses.iter().map(|(loss, _)| loss).sum::<f64>() / losses.len() as f64
    };
    let at = |step: f32| vector(|i| 0.02 * (i as f32).sin() + step * (i as f32).cos());
    let edit = Edit::Steering(at(0.0));
    let found = descent(decoder, &kept, &edit, Part::Vector).unwrap();
    let along: f64 = found.iter().enumerate().map(|(i, d)| -d * f64::from((i as f32).cos())).sum();
    const STEP: f32 = 1e-3;
    let expected = (loss(&at(STEP)) - loss(&at(-STEP))) / (2.0 * f64::from(STEP));
    assert!((along - expected).abs() < 0.02 * expected.abs().max(0.1), "{along}, {expected}");
    assert_eq!(flat(&edit, Part::Vector).unwrap().len(), 64);
    assert!(flat(&edit, Part::B).unwrap().is_empty());
}
