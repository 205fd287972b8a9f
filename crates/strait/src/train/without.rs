//! Directions that are taken out behind an edit while it is trained.

use strait_model::{
    Edit,
    edit::{Ablation, SteeringVector},
};

use crate::{Error, Result};

/// The ablations that a file of directions stands for: one vector after every layer of a model, the embeddings included; several
/// each after its own; and ablations as they are.
///
/// # Errors
/// If there are other edits among them.
pub fn ablations(directions: &Edit, layers: usize) -> Result<Vec<Edit>> {
    let parts: Vec<&Edit> = directions.parts().collect();
    if let [Edit::Steering(SteeringVector { vector, .. })] = parts[..] {
        let at = |layer| Edit::Ablation(Ablation { layer, direction: vector.clone(), factor: 1.0 });
        return Ok((-1..layers as i32).map(at).collect());
    }
    let ablation = |part: &Edit| match part {
        Edit::Steering(SteeringVector { layer, vector }) => {
            Ok(Edit::Ablation(Ablation { layer: *layer, direction: vector.clone(), factor: 1.0 }))
        }
        Edit::Ablation(_) => Ok(part.clone()),
        Edit::Lora(_) => Err(Error::NoDirections("a LoRA")),
        Edit::Full(_) | Edit::Composed(_) => Err(Error::NoDirections("a full fine-tune")),
    };
    parts.into_iter().map(ablation).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn vector(layer: i32) -> Edit {
        let vector = Tensor::new(&[3.0f32, 4.0][..], &Device::Cpu).unwrap();
        Edit::Steering(SteeringVector { layer, vector })
    }

    fn layers(edits: &[Edit]) -> Vec<i32> {
        let layer = |edit: &Edit| match edit {
            Edit::Ablation(ablation) => ablation.layer,
            other => panic!("{other:?}"),
        };
        edits.iter().map(layer).collect()
    }

    #[test]
    fn one_vector_is_taken_out_everywhere_and_several_where_they_are() {
        assert_eq!(layers(&ablations(&vector(1), 3).unwrap()), [-1, 0, 1, 2]);
        let several = Edit::composed([vector(2), vector(0)]);
        assert_eq!(layers(&ablations(&several, 3).unwrap()), [2, 0]);
        let once = ablations(&several, 3).unwrap().remove(0);
        assert_eq!(layers(&ablations(&once, 3).unwrap()), [2]);
    }
}
