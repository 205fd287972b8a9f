//! The surroundings on which finding a model depends.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// The time for which a download may bring nothing before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

const HUB: &str = "https://huggingface.co";

/// Folders, switches and secrets, as the process's environment variables say. Not `Debug`: it holds a secret.
#[derive(Clone)]
pub struct Environment {
    /// strait's own cache: `STRAIT_CACHE`, else `strait` in the user's cache folder.
    pub strait_cache: PathBuf,
    /// The hub's cache, shared with Hugging Face's tools: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    pub hub_cache: PathBuf,
    /// The hub's address without a slash at its end: `HF_ENDPOINT`, else the public one.
    pub endpoint: String,
    /// The user's token for the hub: `HF_TOKEN`, else the content of the file `HF_TOKEN_PATH` or `token` in `HF_HOME`.
    pub token: Option<String>,
    /// True if the network is forbidden: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// The folders in which pip is looked for: `PATH`.
    pub search_path: OsString,
    /// The time for which a download may bring nothing before it is given up.
    pub patience: Duration,
}

impl Environment {
    /// The environment of this process, by the rules of Hugging Face's own tools where a variable is theirs.
    pub fn of_this_process() -> Self {
        // Without a home the caches lie in the folder one is in: better than a folder that others can write to.
        let home = std::env::home_dir().unwrap_or_default();
        Self::from_variables(|name| std::env::var_os(name), home)
    }

    /// The hub's address as it may be shown: without a password that stands in it.
    pub fn address(&self) -> String {
        let (scheme, rest) = self.endpoint.split_once("://").unwrap_or(("", &self.endpoint));
        let separator = if scheme.is_empty() { "" } else { "://" };
        // Whatever stands before the last sign of its kind may be part of a password.
        match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}{separator}***@{host}"),
            None => self.endpoint.clone(),
        }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, home: PathBuf) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let text = |name| set(name).and_then(|value| value.into_string().ok());
        let folder = |name| set(name).map(PathBuf::from);

        let user_cache = folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
        let hub_home = folder("HF_HOME").unwrap_or_else(|| user_cache.join("huggingface"));
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| hub_home.join("token"));
        Self {
            strait_cache: folder("STRAIT_CACHE").unwrap_or_else(|| user_cache.join("strait")),
            hub_cache: folder("HF_HUB_CACHE").unwrap_or_else(|| hub_home.join("hub")),
            endpoint: text("HF_ENDPOINT").map_or(HUB.into(), |url| url.trim_end_matches('/').to_string()),
            token: text("HF_TOKEN")
                .or_else(|| std::fs::read_to_string(token_file).ok())
                .map(|token| token.trim().to_string())
                .filter(|token| !token.is_empty()),
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            search_path: set("PATH").unwrap_or_default(),
            patience: PATIENCE,
        }
    }
}

/// True of the words that Hugging Face's tools take for yes.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn environment(variables: &[(&str, &str)], home: &Path) -> Environment {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Environment::from_variables(|name| find(name).map(|(_, v)| v.into()), home.into())
    }

    #[test]
    fn folders_by_the_variables_that_are_set() {
        for (variables, strait, hub) in [
            (&[][..], "/home/me/.cache/strait", "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/strait", "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("STRAIT_CACHE", "/s"), ("HF_HOME", "/h")], "/s", "/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/home/me/.cache/strait", "/c"),
            (
                &[("HF_HOME", ""), ("STRAIT_CACHE", "")],
                "/home/me/.cache/strait",
                "/home/me/.cache/huggingface/hub",
            ),
        ] {
            let found = environment(variables, Path::new("/home/me"));
            assert_eq!(found.strait_cache, Path::new(strait), "{variables:?}");
            assert_eq!(found.hub_cache, Path::new(hub), "{variables:?}");
        }
    }

    #[test]
    fn endpoint_and_offline() {
        let found = environment(&[], Path::new("/"));
        assert_eq!((found.endpoint.as_str(), found.offline), (HUB, false));
        let set = [("HF_ENDPOINT", "https://mirror.example/"), ("HF_HUB_OFFLINE", "True")];
        let found = environment(&set, Path::new("/"));
        assert_eq!((found.endpoint.as_str(), found.offline), ("https://mirror.example", true));
        assert!(!environment(&[("HF_HUB_OFFLINE", "0")], Path::new("/")).offline);
    }

    #[test]
    fn the_token_comes_from_the_variable_or_from_the_file() {
        let home = tempfile::tempdir().unwrap();
        let hub_home = home.path().join(".cache/huggingface");
        assert_eq!(environment(&[], home.path()).token, None);
        std::fs::create_dir_all(&hub_home).unwrap();
        std::fs::write(hub_home.join("token"), "from-file\n").unwrap();
        assert_eq!(environment(&[], home.path()).token.as_deref(), Some("from-file"));
        let set = environment(&[("HF_TOKEN", " given ")], home.path());
        assert_eq!(set.token.as_deref(), Some("given"));
    }
}
