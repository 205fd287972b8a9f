//! Scalars of adapters: beside a plain computation in f64, and in the place of a pass's own.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use strait_model::{
    Config, Decoder, Edit, Precision,
    decoder::Packed,
    edit::{Ablation, Adapter, Lora, Problem, Projection, Site, SteeringVector},
    ops::{AttentionShape, RopeTable, Span, Spans, attention, gated, rms_norm, rope},
};

use crate::common::{small_config, small_decoder};

const FIRST: [u32; 6] = [1, 5, 22, 5, 7, 0];
const SECOND: [u32; 3] = [3, 9, 14];

fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| ((i * 37 + seed * 101) % 64) as f32 / 64.0 - 0.5);
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

fn adapter(config: &Config, site: Site, rank: usize, seed: usize) -> Adapter {
    let (input, out) = site.size(config);
    Adapter { site, a: numbers(&[rank, input], seed), b: numbers(&[out, rank], seed + 1) }
}

fn lora(adapters: Vec<Adapter>, rank: usize) -> Edit {
    Edit::Lora(Lora { adapters, rank, alpha: 1.5, rslora: false, factor: 1.0 })
}

/// An adapter on every projection of every block, of another rank in either of two LoRAs, behind a vector.
fn everywhere(config: &Config) -> Edit {
    let of_layer = |layer: usize| {
        let adapters = Projection::ALL.into_iter().enumerate().map(move |(i, projection)| {
            adapter(config, Site::Projection { layer, projection }, layer + 1, 10 * layer + i)
        });
        lora(adapters.collect(), layer + 1)
    };
    let vector = Edit::Steering(SteeringVector { layer: 0, vector: numbers(&[12], 3) });
    Edit::composed([of_layer(0), vector, of_layer(1)])
}

fn embedded(config: &Config) -> Edit {
    let site = |site, seed| adapter(config, site, 2, seed);
    lora(vec![site(Site::Embeddings, 5), site(Site::Lookup, 6)], 2)
}

fn config() -> Config {
    Config { logit_softcap: None, ..small_config(false) }
}

/// What every adapter of [`everywhere`] is given, A x, for one sequence: block by block by plain products in f64.
fn plain(config: &Config, vars: &BTreeMap<String, Var>, edit: &Edit, ids: &[u32]) -> Vec<Tensor> {
    let wide = |tensor: &Tensor| tensor.detach().to_dtype(DType::F64).unwrap();
    let weight = |name: &str| wide(vars[name].as_tensor());
    let rows = Tensor::new(ids, &Device::Cpu).unwrap();
    let table = weight("model.embed_tokens.weight");
    let mut stream = (table.index_select(&rows, 0).unwrap() * config.embedding_scale).unwrap();
    let mut found = Vec::new();
    let positions: Vec<u32> = (0..ids.len() as u32).collect();
    let table = RopeTable::new(&positions, &config.rope.inverse_frequencies(config.head_dim));
    for layer in 0..config.layers {
        let named = |rest: &str| weight(&format!("model.layers.{layer}.{rest}"));
        let norm =
            |x: &Tensor, name: &str| rms_norm(x, &named(&format!("{name}.weight")), config.norm_eps).unwrap();
        let mut project = |x: &Tensor, projection: Projection| {
            let path = projection.path();
            let mut y = x.matmul(&named(&format!("{path}.weight")).t().unwrap()).unwrap();
            if vars.contains_key(&format!("model.layers.{layer}.{path}.bias")) {
                y = y.broadcast_add(&named(&format!("{path}.bias"))).unwrap();
            }
            for (adapter, scale) in edit.adapters() {
                if adapter.site == (Site::Projection { layer, projection }) {
                    let scalars = x.matmul(&wide(&adapter.a).t().unwrap()).unwrap();
                    let change = scalars.matmul(&wide(&adapter.b).t().unwrap()).unwrap();
                    y = (y + (change * scale).unwrap()).unwrap();
                    found.push(scalars);
                }
            }
            y
        };
        let heads = |x: Tensor, name: &str| {
            let (tokens, width) = x.dims2().unwrap();
            let by_head = x.reshape((tokens, width / config.head_dim, config.head_dim)).unwrap();
            rope(&norm(&by_head, name).reshape((tokens, width)).unwrap(), &table).unwrap()
        };
        let x = norm(&stream, "input_layernorm");
        let q = heads(project(&x, Projection::Q), "self_attn.q_norm");
        let k = heads(project(&x, Projection::K), "self_attn.k_norm");
        let v = project(&x, Projection::V);
        let shape = AttentionShape {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale as f32,
            softcap: config.attention_softcap.map(|cap| cap as f32),
            window: config.sliding_window.filter(|_| layer == 1),
            precision: Precision::F32,
        };
        let all = 0..ids.len();
        let spans = Spans::new([Span { queries: all.clone(), beginning: 0..0, keys: all }]);
        let mixed = attention(&q, &k, &v, shape, &spans).unwrap();
        let mixed = norm(&project(&mixed, Projection::O), "post_attention_layernorm");
        stream = (stream + mixed).unwrap();
        let x = norm(&stream, "pre_feedforward_layernorm");
        let (gate, up) = (project(&x, Projection::Gate), project(&x, Projection::Up));
        let mixed = project(&gated(&gate, &up, config.activation).unwrap(), Projection::Down);
        stream = (stream + norm(&mixed, "post_feedforward_layernorm")).unwrap();
        if layer == 0 {
            stream = stream.broadcast_add(&wide(&numbers(&[12], 3))).unwrap();
        }
    }
    found
}

/// A decoder of frozen tensors.
fn frozen(config: &Config, vars: &BTreeMap<String, Var>) -> Decoder {
    let tensor = |name: &str, _: &[usize]| Ok(vars[name].as_detached_tensor());
    Decoder::from_tensors(config.clone(), Precision::F32, tensor).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_near(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims());
    for (found, expected) in values(found).into_iter().zip(values(expected)) {
        assert!((found - expected).abs() < 2e-5 * (1.0 + expected.abs()), "{found} is not {expected}");
    }
}

#[test]
fn scalars_are_what_plain_products_give() {
    let config = config();
    let (_, vars) = small_decoder(&config);
    let (decoder, edit) = (frozen(&config, &vars), everywhere(&config));
    let found = decoder.scalars(&Packed::new([&FIRST[..], &SECOND]), &edit).unwrap();
    assert_eq!(found.len(), 14);
    let both = [plain(&config, &vars, &edit, &FIRST), plain(&config, &vars, &edit, &SECOND)];
    for (at, found) in found.iter().enumerate() {
        assert_eq!(found.dims(), [9, at / 7 + 1]);
        assert_near(found, &Tensor::cat(&[&both[0][at], &both[1][at]], 0).unwrap());
    }
    // What all sequences begin with is computed once.
    let (both, shared) = ([&FIRST[..], &FIRST[..4]], Packed::sharing([&FIRST[..], &FIRST[..4]]));
    let every_token = Tensor::new(shared.every_token(), &Device::Cpu).unwrap();
    let apart = decoder.scalars(&Packed::new(both), &edit).unwrap();
    for (shared, apart) in decoder.scalars(&shared, &edit).unwrap().iter().zip(&apart) {
        assert_near(&shared.index_select(&every_token, 0).unwrap(), apart);
    }

    // On the embeddings they follow from the tokens.
    let edit = embedded(&config);
    let found = decoder.scalars(&Packed::new([&FIRST[..]]), &edit).unwrap();
    let (adapters, ids): (Vec<&Adapter>, _) =
        (edit.adapters().map(|(adapter, _)| adapter).collect(), Tensor::new(&FIRST, &Device::Cpu).unwrap());
    let stream = (vars["model.embed_tokens.weight"].as_detached_tensor().index_select(&ids, 0).unwrap()
        * config.embedding_scale)
        .unwrap();
    assert_near(&found[0], &stream.matmul(&adapters[0].a.t().unwrap()).unwrap());
    assert_near(&found[1], &adapters[1].a.index_select(&ids, 1).unwrap().t().unwrap());
}

#[test]
fn scalars_that_are_put_in_their_own_place_change_nothing() {
    let config = config();
    let (_, vars) = small_decoder(&config);
    let (decoder, batch) = (frozen(&config, &vars), Packed::new([&FIRST[..], &SECOND]));
    for edit in [everywhere(&config), embedded(&config)] {
        let own = decoder.run_with_scalars(&batch, &edit, &[]).unwrap();
        let stream =
            decoder.run(decoder.embed(&batch).unwrap(), 0..config.layers, &batch, Some(&edit)).unwrap();
        assert_near(&own, &stream);
        let scalars: Vec<_> = decoder.scalars(&batch, &edit).unwrap().into_iter().map(Some).collect();
        assert_eq!(values(&decoder.run_with_scalars(&batch, &edit, &scalars).unwrap()), values(&own));

        // Zeros take the adapters away, and leave the rest of the edit.
        let zeros: Vec<_> = scalars.iter().flatten().map(|s| Some(s.zeros_like().unwrap())).collect();
        let rest = Edit::composed(edit.parts().filter(|part| part.adapters().next().is_none()).cloned());
        let without =
            decoder.run(decoder.embed(&batch).unwrap(), 0..config.layers, &batch, Some(&rest)).unwrap();
        assert_near(&decoder.run_with_scalars(&batch, &edit, &zeros).unwrap(), &without);
        assert!(values(&own).iter().zip(values(&without)).any(|(own, rest)| (own - rest).abs() > 1e-2));
    }
}

#[test]
fn scalars_of_the_last_projection_add_up() {
    // Without a norm behind it, the last block's down projection adds scale * B s to the stream, whatever s is.
    let config = Config { post_norms: false, ..config() };
    let (_, vars) = small_decoder(&config);
    let (decoder, batch) = (frozen(&config, &vars), Packed::new([&FIRST[..]]));
    let down = |layer| Site::Projection { layer, projection: Projection::Down };
    let edit = lora(vec![adapter(&config, down(0), 2, 1), adapter(&config, down(1), 2, 2)], 2);
    let own = decoder.run_with_scalars(&batch, &edit, &[]).unwrap();
    let scalars = decoder.scalars(&batch, &edit).unwrap();
    let other = numbers(&[6, 2], 9);
    let patched = decoder.run_with_scalars(&batch, &edit, &[None, Some(other.clone())]).unwrap();
    let (last, scale) = edit.adapters().nth(1).unwrap();
    let difference = (other - &scalars[1]).unwrap().matmul(&last.b.t().unwrap()).unwrap();
    assert_near(&(patched - own).unwrap(), &(difference * scale).unwrap());
}

#[test]
fn what_has_no_scalars_is_refused() {
    let config = config();
    let (_, vars) = small_decoder(&config);
    let (decoder, batch) = (frozen(&config, &vars), Packed::new([&FIRST[..]]));
    let refused = |edit: &Edit| {
        let error = decoder.scalars(&batch, edit).unwrap_err();
        assert!(error.hint().is_some());
        error
    };
    let ablation = Edit::Ablation(Ablation { layer: 0, direction: numbers(&[12], 1), factor: 1.0 });
    for edit in [ablation, Edit::Composed(Vec::new())] {
        assert!(matches!(refused(&edit).problem(), Some(Problem::NoAdapters)));
    }
    let head = lora(vec![adapter(&config, Site::Head, 1, 1)], 1);
    let both = Edit::composed([everywhere(&config), head]);
    assert!(matches!(refused(&both).problem(), Some(Problem::ScalarsOfHead)));
    for shape in [[6, 2], [5, 1]] {
        let put = [Some(numbers(&shape, 1))];
        let error = decoder.run_with_scalars(&batch, &everywhere(&config), &put).unwrap_err();
        assert!(error.to_string().contains("scalars of model.layers.0.self_attn.q_proj"), "{error}");
    }
}
