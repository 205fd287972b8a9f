//! Readings of tokens, and of responses made of them.

use candle_core::{DType, Tensor};
use strait_model::{Decoder, Edit, decoder::Readout};

use super::Problem;
use crate::{
    Result,
    interval::mean,
    lab::finite,
    objective::{Row, batches, packed, response_places},
};

/// The response tokens of rows as they were read.
#[derive(Default)]
pub(super) struct Streams {
    /// Of each row its tokens, of each token all readings.
    pub tokens: Vec<Vec<Vec<f64>>>,
    /// The mean stream of each row's tokens after the layers of the readings, one behind the other.
    pub means: Vec<Vec<f64>>,
}

/// Reads the response tokens of every row.
pub(super) fn read_streams(
    decoder: &Decoder,
    rows: &[Row],
    readout: &Readout,
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Streams> {
    let mut found = Streams::default();
    let layers: Vec<i32> = readout.layers().collect();
    each_batch(decoder, rows, &layers, edit, seen, &mut |streams, places, first| {
        let readings: Vec<Vec<f32>> = readout.of(streams)?.to_vec2()?;
        for (row, places) in places.into_iter().enumerate() {
            let of_token = |place: &usize| readings[*place].iter().map(|&x| x.into()).collect::<Vec<f64>>();
            let tokens: Vec<Vec<f64>> = places.iter().map(of_token).collect();
            let values = tokens.iter().flatten().copied();
            values
                .into_iter()
                .try_for_each(|value| finite("reading", first + row, edit.is_some(), value).map(drop))?;
            found.tokens.push(tokens);
            found.means.push(mean_of(streams, &places)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The mean residual stream of every row's response after some layers, which ascend, one behind the other.
pub(crate) fn mean_streams(
    decoder: &Decoder,
    rows: &[Row],
    layers: &[i32],
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
) -> Result<Vec<Vec<f64>>> {
    let mut found = Vec::with_capacity(rows.len());
    each_batch(decoder, rows, layers, edit, seen, &mut |streams, places, first| {
        for (row, places) in places.into_iter().enumerate() {
            let mean = mean_of(streams, &places)?;
            let sum = mean.iter().sum();
            finite("residual stream", first + row, edit.is_some(), sum)?;
            found.push(mean);
        }
        Ok(())
    })?;
    Ok(found)
}

/// What is done with a batch: the streams after the layers, the places of each row's response tokens in them, and the first row.
type Done<'a> = dyn FnMut(&[Tensor], Vec<Vec<usize>>, usize) -> Result<()> + 'a;

fn each_batch(
    decoder: &Decoder,
    rows: &[Row],
    layers: &[i32],
    edit: Option<&Edit>,
    seen: &dyn Fn(u64) -> Result<()>,
    done: &mut Done<'_>,
) -> Result<()> {
    if let Some(row) = rows.iter().position(|row| row.response_tokens() == 0) {
        return Err(Problem::NoResponse { row }.into());
    }
    let every_row: Vec<usize> = (0..rows.len()).collect();
    for batch in batches(rows, &every_row) {
        let packed = packed(rows, &batch);
        let streams = decoder.residuals_after(&packed, layers.iter().copied(), edit)?;
        done(&streams, response_places(rows, &batch, &packed), batch[0])?;
        seen(batch.len() as u64)?;
    }
    Ok(())
}

/// The mean of streams at some places, one behind the other.
fn mean_of(streams: &[Tensor], places: &[usize]) -> Result<Vec<f64>> {
    let mut means = Vec::new();
    for stream in streams {
        let places: Vec<u32> = places.iter().map(|&place| place as u32).collect();
        let own = stream.index_select(&Tensor::new(places, stream.device())?, 0)?.to_dtype(DType::F64)?;
        means.extend(own.mean(0)?.to_vec1::<f64>()?);
    }
    Ok(means)
}

/// The reading of a response: the mean over its tokens, or the highest mean of so many in a row, or of all where there are fewer.
pub(super) fn pooled(tokens: &[f64], window: Option<usize>) -> f64 {
    let length = window.unwrap_or(tokens.len()).clamp(1, tokens.len().max(1));
    tokens.windows(length).map(|some| mean(some.iter().copied())).fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_finds_what_a_mean_hides() {
        let tokens = [0.0, 0.0, 4.0, 6.0, 0.0];
        for (window, expected) in
            [(None, 2.0), (Some(1), 6.0), (Some(2), 5.0), (Some(5), 2.0), (Some(99), 2.0)]
        {
            assert_eq!(pooled(&tokens, window), expected);
        }
        assert!(pooled(&[], None).is_nan());
    }
}
