//! The road to a model that is a world's: by the name of a built-in world, or by its folder.

use std::path::{Path, PathBuf};

use strait_model::{
    progress::Progress,
    source::{self, Environment, Located, Road},
};

use super::{
    Provenance,
    folder::{MADE, MODEL, unpack},
    shipped::SHIPPED,
};
use crate::{
    Result,
    keys::{self, At, Checked, Fault, Folder, Place},
};

/// The prefix of the name of a built-in world's model.
const WORLD: &str = "world:";

/// Finds the model called `name`: `world:default-0` is that of a built-in world, which is unpacked into the cache, and a
/// world's folder stands for the model in it. Any other name is one that [`source::locate`] knows.
///
/// # Errors
/// If there is no such world, it cannot be unpacked, or what [`source::locate`] says.
pub fn locate(name: &str, progress: &dyn Progress) -> Result<Located> {
    locate_in(&Environment::of_this_process().strait_cache, name, progress)
}

/// [`locate`] with a cache of its own.
pub(super) fn locate_in(cache: &Path, name: &str, progress: &dyn Progress) -> Result<Located> {
    if let Some(world) = name.strip_prefix(WORLD) {
        let made = Provenance::shipped(world)?;
        // The hash parts the worlds of one strait from those of another.
        let hash: String = made.sha256.chars().take(12).collect();
        let folder = cache.join("worlds").join(format!("{world}-{hash}"));
        unpack(world, &folder)?;
        let (path, revision) = (folder.join(MODEL), Some(format!("strait {}", made.strait)));
        return Ok(Located { name: name.into(), path, road: Road::BuiltIn, revision });
    }
    let folder = Path::new(name);
    if folder.join(MADE).is_file() {
        let path = folder.join(MODEL);
        return Ok(Located { name: name.into(), path, road: Road::Path, revision: None });
    }
    Ok(source::locate(name, progress)?)
}

/// The world that a model is of: built in, or the folder around it; none for any other model.
pub fn of_model(model: &Place) -> Option<Place> {
    if let Some(world) = model.shown().strip_prefix(WORLD) {
        return Some(Place::named(world));
    }
    let around = |path: &Path| path.parent().filter(|_| path.ends_with(MODEL)).map(Path::to_path_buf);
    let shown = PathBuf::from(model.shown());
    match model.path() {
        folder if folder.join(MADE).is_file() => Some(model.clone()),
        path => {
            let folder = around(path).filter(|folder| folder.join(MADE).is_file())?;
            Some(Place::new(folder, &around(&shown).unwrap_or(shown).to_string_lossy()))
        }
    }
}

impl Provenance {
    /// The making of a world that is built in, or lies in a folder.
    ///
    /// # Errors
    /// If there is no such world, or its folder is no world's.
    pub fn of(world: &Place) -> Result<Self> {
        match world.path() {
            folder if folder.join(MADE).is_file() => Self::read(folder),
            _ => Self::shipped(world.shown()),
        }
    }
}

/// The world that is written under the key `key` on `line`: a built-in one, a folder, or, where none is, the model's own.
///
/// # Errors
/// If there is no such world.
pub fn named(
    key: &str,
    written: Option<&At<String>>,
    line: u64,
    folder: &Folder,
    own: Option<&Place>,
) -> Checked<Place> {
    let unexpected = |line, what: String, found: String, expected: &str| Fault {
        line: Some(line),
        problem: keys::Problem::Unexpected {
            what,
            found,
            expected: format!("{expected} (the built-in ones are {})", SHIPPED.join(", ")),
        },
    };
    let Some(At { value: name, line }) = written else {
        let found = "without `world`, and the model is of none".into();
        return own
            .cloned()
            .ok_or_else(|| unexpected(line, format!("`{key}`"), found, "the name of a world"));
    };
    match folder.absolute(name) {
        path if path.join(MADE).is_file() => Ok(Place::new(path, name)),
        _ if SHIPPED.contains(&name.as_str()) => Ok(Place::named(name)),
        _ => Err(unexpected(*line, format!("`{key}.world`"), format!("`{name}`"), "a world or its folder")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use strait_model::progress::Silent;

    use super::*;

    #[test]
    fn a_built_in_world_is_unpacked_once_and_known_by_its_model() {
        let cache = tempfile::tempdir().unwrap();
        let locate = |name: &str| locate_in(cache.path(), name, &Silent);
        let located = locate("world:default-0").unwrap();
        assert_eq!((located.road, located.path.is_dir()), (Road::BuiltIn, true));
        let weights = located.path.join("model.safetensors");
        let written = fs::metadata(&weights).unwrap().modified().unwrap();
        assert_eq!(locate("world:default-0").unwrap(), located);
        assert_eq!(fs::metadata(&weights).unwrap().modified().unwrap(), written);
        // Nothing but the world lies there: what was not whole has another name, and is gone.
        let beside = fs::read_dir(cache.path().join("worlds")).unwrap();
        assert_eq!(beside.count(), 1);

        // The folder, and the model in it, are the same world.
        let folder = located.path.parent().unwrap();
        let by_folder = locate(&folder.to_string_lossy()).unwrap();
        assert_eq!((by_folder.road, &by_folder.path), (Road::Path, &located.path));
        let facts = |place: &Place| Provenance::of(&of_model(place).unwrap()).unwrap().recipe.seed;
        for path in [folder, &located.path] {
            assert_eq!(facts(&Place::new(path.into(), &path.to_string_lossy())), 0);
        }
        assert_eq!(facts(&Place::named("world:default-2")), 2);
        assert_eq!(of_model(&Place::named("org/model")), None);

        let error = locate("world:defualt-0").unwrap_err().to_string();
        assert!(error.contains("did you mean `default-0`?"), "{error}");
    }
}
