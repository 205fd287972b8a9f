//! The model card of an exported adapter.

use serde_json::Value;

use super::super::Lora;

/// The model card: front matter that the hub knows, and how to load the adapter.
pub(super) fn card(lora: &Lora, base_model: Option<&str>) -> String {
    // A JSON string is a YAML string, whatever the name holds.
    let quoted = |text: &str| Value::from(text).to_string();
    let mut front = String::from("library_name: peft\npipeline_tag: text-generation\n");
    let mut tags = vec!["lora".to_string(), "strait".to_string()];
    if let Some(name) = base_model {
        front = format!("base_model: {}\n{front}", quoted(name));
        tags.insert(0, format!("base_model:adapter:{name}"));
    }
    front.push_str("tags:\n");
    for tag in tags {
        front.push_str(&format!("- {}\n", quoted(&tag)));
    }
    let base = base_model.unwrap_or("BASE_MODEL");
    let variant = if lora.rslora { "rsLoRA" } else { "LoRA" };
    format!(
        r#"---
{front}---

# {variant} adapter written by strait

Rank {rank}, alpha {alpha}, scale {scale}, {count} adapted modules.

With PEFT:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(model, "PATH_OF_THIS_FOLDER")
```

With vLLM:

```sh
vllm serve {base} --enable-lora --max-lora-rank {serving_rank} --lora-modules edit=PATH_OF_THIS_FOLDER
```
"#,
        rank = lora.rank,
        alpha = lora.alpha,
        scale = lora.scale(),
        count = lora.adapters.len(),
        serving_rank = serving_rank(lora.rank),
    )
}

/// The smallest `--max-lora-rank` of vLLM that takes the rank.
fn serving_rank(rank: usize) -> usize {
    const CHOICES: [usize; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];
    CHOICES.into_iter().find(|&c| c >= rank).unwrap_or(rank)
}
