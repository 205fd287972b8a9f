//! The floor of a step: the matrix products that it cannot avoid, by themselves.
//!
//! Counted are the projections of the blocks, adapters on them and the unembedding: forwards, and as far as gradients need
//! them. Products within attention are not: for rows of a hundred tokens they are a fiftieth of the rest.

use candle_core::{Device, Tensor};
use half::bf16;
use strait_model::{
    Config, Precision,
    edit::Projection,
    ops::{LOGITS_HELD, Operand, View},
};

use crate::Result;

/// The products of a projection y = x W^T.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// y = x W^T.
    Forward,
    /// dx = dy W.
    Input,
    /// dW = dy^T x.
    Weight,
}

/// A matrix product of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Which.
    pub form: Form,
    /// Rows of x.
    pub tokens: usize,
    /// Columns of x.
    pub input: usize,
    /// Columns of y.
    pub output: usize,
    /// The number of times that the step has it.
    pub times: usize,
}

impl Product {
    /// Its floating-point operations, all times together: a multiplication and an addition are two.
    pub fn operations(&self) -> f64 {
        2.0 * [self.tokens, self.input, self.output, self.times].map(|n| n as f64).iter().product::<f64>()
    }
}

/// The tensors that get a gradient in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// A vector that is added to the stream where the pass begins.
    Vector,
    /// Adapters of this rank on every projection of every block of the pass.
    Adapters {
        /// The rank.
        rank: usize,
    },
    /// Every weight.
    Weights,
}

/// A pass of some tokens through the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The first block that is run.
    pub from: usize,
    /// Tokens.
    pub tokens: usize,
    /// Those of them whose logits are computed.
    pub predicting: usize,
    /// True if the base model's logits are computed beside them, as KL does.
    pub beside_base: bool,
    /// The tensors that get a gradient.
    pub trained: Option<Trained>,
    /// The number of times that a step has it.
    pub times: usize,
}

/// The matrix products that passes cannot avoid.
pub fn products(config: &Config, passes: &[Pass]) -> Vec<Product> {
    passes.iter().flat_map(|pass| pass.products(config)).filter(|product| product.times > 0).collect()
}

impl Pass {
    fn products(&self, config: &Config) -> Vec<Product> {
        let Self { tokens, trained, .. } = *self;
        let blocks = config.layers - self.from;
        let mut products = Vec::new();
        for projection in Projection::ALL {
            // What enters the first block of the pass has a gradient only where something below it is trained.
            let reads_stream = matches!(projection, Projection::Q | Projection::K | Projection::V);
            let back = match trained {
                None => 0,
                Some(Trained::Adapters { .. }) if reads_stream => blocks - 1,
                Some(_) => blocks,
            };
            let (input, output) = config.projection_size(projection);
            let mut add = |form, (input, output): (usize, usize), blocks| {
                products.push(Product { form, tokens, input, output, times: blocks * self.times });
            };
            add(Form::Forward, (input, output), blocks);
            add(Form::Input, (input, output), back);
            match trained {
                Some(Trained::Weights) => add(Form::Weight, (input, output), blocks),
                Some(Trained::Adapters { rank }) => {
                    for (form, blocks) in
                        [(Form::Forward, blocks), (Form::Input, back), (Form::Weight, blocks)]
                    {
                        add(form, (input, rank), blocks);
                    }
                    for form in [Form::Forward, Form::Input, Form::Weight] {
                        add(form, (rank, output), blocks);
                    }
                }
                Some(Trained::Vector) | None => {}
            }
        }
        let (input, output) = (config.hidden_size, config.vocab_size);
        let trains_it = trained == Some(Trained::Weights);
        // In pieces, as losses take them.
        let most = (LOGITS_HELD / output).max(1);
        for start in (0..self.predicting).step_by(most) {
            let tokens = most.min(self.predicting - start);
            let mut add = |form, times| {
                products.push(Product { form, tokens, input, output, times: times * self.times });
            };
            add(Form::Forward, 1 + usize::from(self.beside_base));
            add(Form::Input, usize::from(trained.is_some()));
            add(Form::Weight, usize::from(trains_it));
        }
        products
    }
}

/// The operands of bare products.
pub struct Floor<'a> {
    device: &'a Device,
    precision: Precision,
    /// Weights that are walked through, so that each product reads others than the one before.
    weights: Vec<f32>,
    /// The same as a model of bf16 keeps them.
    rounded: Vec<bf16>,
    /// The first of them that was not read yet.
    at: usize,
    /// Activations or their gradients.
    activations: Vec<f32>,
    result: Vec<f32>,
}

/// Bytes of weights that are walked through: more than caches hold.
const WALKED: usize = 256 << 20;

impl<'a> Floor<'a> {
    /// Operands for some products of a model.
    pub fn of(config: &Config, products: &[Product], device: &'a Device, precision: Precision) -> Self {
        let largest = |size: fn(&Product) -> usize| products.iter().map(size).max().unwrap_or(0);
        let a_weight = largest(|product| product.input * product.output);
        let walked = config.parameters().min(WALKED / size_of::<f32>()).max(a_weight);
        let an_activation = largest(|product| product.tokens * product.input.max(product.output));
        let numbers = |count: usize| match device.is_cpu() {
            true => (0..count).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect(),
            false => Vec::new(),
        };
        let weights = numbers(walked);
        let rounded = match precision {
            Precision::F32 => Vec::new(),
            Precision::Bf16 => weights.iter().map(|&weight| bf16::from_f32(weight)).collect(),
        };
        Self {
            device,
            precision,
            weights,
            rounded,
            at: 0,
            activations: numbers(an_activation),
            result: numbers(an_activation),
        }
    }

    /// Computes all products.
    ///
    /// # Errors
    /// If a device cannot multiply.
    pub fn run(&mut self, products: &[Product]) -> Result<()> {
        for product in products {
            match self.device.is_cpu() {
                true => (0..product.times).for_each(|_| self.multiply(product)),
                false => self.on_device(product)?,
            }
        }
        Ok(())
    }

    fn multiply(&mut self, product: &Product) {
        let Product { form, tokens, input, output, .. } = *product;
        let numbers = input * output;
        if self.at + numbers > self.weights.len() {
            self.at = 0;
        }
        let place = self.at..self.at + numbers;
        self.at += numbers;
        let kept = match self.precision {
            Precision::F32 => Operand::F32(View::rows(&self.weights[place.clone()], input)),
            Precision::Bf16 => Operand::Bf16(View::rows(&self.rounded[place.clone()], input)),
        };
        let (x, dy) = (View::rows(&self.activations, input), View::rows(&self.activations, output));
        let (precision, result) = (self.precision, &mut self.result);
        match form {
            Form::Forward => precision.gemm((tokens, output, input), result, x, kept.t()),
            Form::Input => precision.gemm((tokens, input, output), result, dy, kept),
            Form::Weight => {
                let shape = (output, input, tokens);
                precision.gemm(shape, &mut self.weights[place], dy.t(), x.into());
            }
        }
    }

    fn on_device(&self, product: &Product) -> Result<()> {
        let Product { form, tokens, input, output, times } = *product;
        let random = |rows: usize, columns: usize| Tensor::rand(-1f32, 1f32, (rows, columns), self.device);
        let (x, dy, weight) = (random(tokens, input)?, random(tokens, output)?, random(output, input)?);
        for _ in 0..times {
            match form {
                Form::Forward => x.matmul(&weight.t()?)?,
                Form::Input => dy.matmul(&weight)?,
                Form::Weight => dy.t()?.matmul(&x)?,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four blocks of width 32 with queries of 32, keys and values of 16, an MLP of 88 and 304 tokens.
    fn tiny() -> Config {
        Config::from_hf("../strait-model/tests/fixtures/tiny/llama/config.json".as_ref()).unwrap()
    }

    /// Multiply-adds of a token in a block: queries and outputs, keys and values, gate, up and down.
    const BLOCK: usize = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 88;
    const UNEMBEDDING: usize = 304 * 32;

    fn pass(trained: Option<Trained>) -> Pass {
        Pass { from: 0, tokens: 10, predicting: 6, beside_base: false, trained, times: 1 }
    }

    #[track_caller]
    fn check(pass: Pass, multiply_adds: usize) {
        let counted: f64 = products(&tiny(), &[pass]).iter().map(Product::operations).sum();
        assert_eq!(counted, 2.0 * multiply_adds as f64);
    }

    #[test]
    fn operations_are_those_counted_by_hand() {
        assert_eq!((BLOCK, UNEMBEDDING), (11_520, 9_728));
        let forward = 10 * 4 * BLOCK + 6 * UNEMBEDDING;
        check(pass(None), forward);
        check(Pass { times: 3, ..pass(None) }, 3 * forward);
        // Every weight: as much again for activations, and again for weights.
        check(pass(Some(Trained::Weights)), 3 * forward);
        // A vector before block 2: two blocks, forth and back.
        let vector = Pass { from: 2, ..pass(Some(Trained::Vector)) };
        check(vector, 2 * (10 * 2 * BLOCK + 6 * UNEMBEDDING));
        // KL: the base's logits are computed forth only.
        check(Pass { beside_base: true, ..vector }, 2 * (10 * 2 * BLOCK + 6 * UNEMBEDDING) + 6 * UNEMBEDDING);
        // Adapters: queries, keys and values of the first block read what has no gradient.
        let (of_stream, rank) = (32 * (32 + 16 + 16), 3);
        let sides = [32, 32, 32, 32, 32, 32, 88].iter().zip([32, 16, 16, 32, 88, 88, 32]).map(|(i, o)| i + o);
        let adapters = 3 * 4 * rank * sides.sum::<usize>() - 3 * rank * 32;
        check(pass(Some(Trained::Adapters { rank })), 2 * forward - 10 * of_stream + 10 * adapters);
    }

    #[test]
    fn logits_are_counted_whole_in_however_many_pieces() {
        let config = Config { vocab_size: 1 << 20, ..tiny() };
        let predicting = |predicting| Pass { from: 4, predicting, ..pass(None) };
        let of = |passes| products(&config, &[passes]);
        assert_eq!(of(predicting(40)).iter().map(|p| p.tokens).collect::<Vec<_>>(), [16, 16, 8]);
        let operations: f64 = of(predicting(40)).iter().map(Product::operations).sum();
        assert_eq!(operations, 2.0 * 40.0 * 32.0 * (1 << 20) as f64);
    }

    #[test]
    fn bare_products_run() {
        let (config, device) = (tiny(), Device::Cpu);
        for trained in [None, Some(Trained::Adapters { rank: 3 }), Some(Trained::Weights)] {
            let products = products(&config, &[pass(trained)]);
            for precision in Precision::ALL {
                Floor::of(&config, &products, &device, precision).run(&products).unwrap();
            }
        }
    }
}
