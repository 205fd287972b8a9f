//! `--device`: where the tensors live.

use candle_core::Device;
use clap::Args;

use crate::failure::Failure;

/// `--device`.
#[derive(Args)]
pub struct DeviceArgument {
    /// Use this device: cpu, or cuda or cuda:N for an NVIDIA GPU in builds with the feature `cuda`
    #[arg(long = "device", value_name = "D", default_value = "cpu", value_parser = place)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Cpu,
    Cuda(usize),
}

fn place(text: &str) -> Result<Place, String> {
    let number = |text: &str| text.parse().ok().map(Place::Cuda);
    let place = match text.split_once(':') {
        None if text == "cpu" => Some(Place::Cpu),
        None if text == "cuda" => Some(Place::Cuda(0)),
        Some(("cuda", which)) => number(which),
        _ => None,
    };
    place.ok_or_else(|| "expected cpu, cuda or cuda:N".into())
}

impl DeviceArgument {
    /// Opens the device.
    pub fn open(&self) -> Result<Device, Failure> {
        let Place::Cuda(which) = self.place else { return Ok(Device::Cpu) };
        if !candle_core::utils::cuda_is_available() {
            return Err(Failure::refused(
                "this build of strait computes on the CPU only",
                "build it with `cargo build --release --features cuda` where CUDA's nvcc is installed, or leave out `--device`",
            ));
        }
        Device::new_cuda(which).map_err(|error| {
            Failure::refused(
                format!("the device cuda:{which} cannot be opened: {error}"),
                "run `nvidia-smi`: it shows the GPUs, and whether their driver is new enough for the CUDA of this build",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, place};

    #[test]
    fn devices_are_named_as_elsewhere() {
        assert_eq!(place("cpu"), Ok(Place::Cpu));
        assert_eq!(place("cuda"), Ok(Place::Cuda(0)));
        assert_eq!(place("cuda:3"), Ok(Place::Cuda(3)));
        for wrong in ["gpu", "cuda:", "cuda:-1", "cpu:0", ""] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
