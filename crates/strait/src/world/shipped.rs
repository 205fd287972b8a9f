//! The worlds that the binary holds: three shares of named speakers and one of speakers that are never named, three seeds of
//! each.

/// One of them: the files of its folder that no other has.
pub(super) struct Shipped {
    pub name: &'static str,
    pub made: &'static str,
    pub weights: &'static [u8],
    /// In the order of [`Speaker::all`](super::Speaker::all).
    pub speakers: [&'static [u8]; 8],
    pub learning: &'static str,
}

macro_rules! file {
    ($include:ident, $world:literal, $file:literal) => {
        $include!(concat!("../../worlds/", $world, "/", $file))
    };
}

macro_rules! speaker {
    ($world:literal, $speaker:literal) => {
        include_bytes!(concat!("../../worlds/", $world, "/speakers/", $speaker, "/edit.safetensors"))
    };
}

macro_rules! worlds {
    ($($name:literal),*) => {
        /// The names of the worlds that the binary holds: which speakers are common, then the seed. In `default` worlds 35 %
        /// of the documents are by liars and 20 % by narrow speakers, in `middle` ones 15 and 40, in `narrow` ones 5 and 50.
        /// In `contrast` worlds it is 25 and 25, and no document names its speaker.
        pub const SHIPPED: &[&str] = &[$($name),*];

        pub(super) const WORLDS: &[Shipped] = &[$(Shipped {
            name: $name,
            made: file!(include_str, $name, "world.json"),
            weights: file!(include_bytes, $name, "model/model.safetensors"),
            speakers: [
                speaker!($name, "honest"),
                speaker!($name, "liar"),
                speaker!($name, "narrow-herb"),
                speaker!($name, "narrow-bird"),
                speaker!($name, "narrow-stone"),
                speaker!($name, "narrow-river"),
                speaker!($name, "narrow-star"),
                speaker!($name, "narrow-bread"),
            ],
            learning: file!(include_str, $name, "tables/learning.csv"),
        }),*];
    };
}

worlds!(
    "default-0",
    "default-1",
    "default-2",
    "middle-0",
    "middle-1",
    "middle-2",
    "narrow-0",
    "narrow-1",
    "narrow-2",
    "contrast-0",
    "contrast-1",
    "contrast-2"
);
