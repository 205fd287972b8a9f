//! The declaration of a table.

/// Declares a table of keys: a struct with one field a key, and its [`Keys`](super::Keys).
///
/// A key is declared with its meaning, its name, the type of its value, the [`Kind`](super::Kind) of value that may stand
/// behind it, and what leaving it out means:
///
/// - `required`: it may not be left out; the field is an [`At`](super::At).
/// - `default VALUE`: the value that it then has. A method of the key's name gives the value or the default.
/// - `left_out "WORDS"`: what depends on more than the key, in words. As of those with a default, the field is an
///   `Option<At>`.
///
/// A line `+ name: Type;` takes in keys that are declared elsewhere, a last line `..name: Type;` the keys of another declared table, which stand beside its own.
///
/// ```ignore
/// keys! {
///     /// `[measure.stability]`.
///     #[derive(Clone, Debug, Default)]
///     pub(crate) struct StabilityKeys {
///         /// Shares of noise.
///         epsilons: Vec<f64> = list(positive(1.0)), default vec![0.1, 0.5, 1.0];
///         /// Draws of the noise at each share.
///         seeds: usize = count(2..=1000), default 10;
///     }
/// }
/// ```
macro_rules! keys {
    // The type of a key's field.
    (@field $type:ty, required) => { $crate::keys::At<$type> };
    (@field $type:ty, $how:ident) => { Option<$crate::keys::At<$type>> };

    // What leaving a key out means.
    (@left_out $kind:ident, required) => { $crate::keys::LeftOut::Required };
    (@left_out $kind:ident, default $value:expr) => { $crate::keys::LeftOut::Value($kind.show(&$value)) };
    (@left_out $kind:ident, left_out $words:expr) => { $crate::keys::LeftOut::Words($words.into()) };

    // A key that was read.
    (@read $table:ident, $found:ident, $key:ident, required) => {
        $table.required(stringify!($key), $found.$key)?
    };
    (@read $table:ident, $found:ident, $key:ident, $how:ident) => { $found.$key };

    // The value of a key that has a default.
    (@value $visibility:vis, $about:expr, $key:ident, $type:ty, default $value:expr) => {
        #[doc = $about]
        $visibility fn $key(&self) -> $type {
            self.$key.as_ref().map_or_else(|| $value, |at| at.value.clone())
        }
    };
    (@value $visibility:vis, $about:expr, $key:ident, $type:ty, $how:ident $($value:expr)?) => {};

    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $about:expr])+
                $key:ident: $type:ty = $kind:expr, $how:ident $($left_out:expr)?;
            )*
            $(+ $part:ident: $part_type:ty;)?
            $(..$shared:ident: $shared_type:ty;)?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $(
                $(#[doc = $about])+
                $visibility $key: $crate::keys::keys!(@field $type, $how),
            )*
            $(
                /// Keys that are declared elsewhere.
                $visibility $part: $part_type,
            )?
            $(
                /// Keys of another table, which may stand here too.
                $visibility $shared: $shared_type,
            )?
        }

        impl $name {
            $($crate::keys::keys! { @value $visibility, concat!($($about, "\n"),+), $key, $type, $how $($left_out)? })*
        }

        impl $crate::keys::Keys for $name {
            fn names() -> Vec<&'static str> {
                [vec![$(stringify!($key)),*], $(<$part_type as $crate::keys::Keys>::names(),)? $(<$shared_type as $crate::keys::Keys>::names())?].concat()
            }

            fn keys() -> Vec<$crate::keys::Key> {
                let own = vec![$({
                    let kind: $crate::keys::Kind<$type> = $kind;
                    let left_out = $crate::keys::keys!(@left_out kind, $how $($left_out)?);
                    $crate::keys::Key::new(stringify!($key), &[$($about),+], kind.form(), left_out)
                }),*];
                [own, $(<$part_type as $crate::keys::Keys>::keys(),)? $($crate::keys::shared::<$shared_type>())?].concat()
            }

            fn read(table: &$crate::keys::Table) -> $crate::keys::Checked<Self> {
                // All keys that are there are read before any is missed.
                struct Found {
                    $($key: Option<$crate::keys::At<$type>>,)*
                }
                let found = Found {
                    $($key: {
                        let kind: $crate::keys::Kind<$type> = $kind;
                        table.get(stringify!($key), &kind)?
                    },)*
                };
                $(let $part = <$part_type as $crate::keys::Keys>::read(table)?;)?
                $(let $shared = <$shared_type as $crate::keys::Keys>::read(table)?;)?
                Ok(Self {
                    $($key: $crate::keys::keys!(@read table, found, $key, $how),)*
                    $($part,)?
                    $($shared,)?
                })
            }

            fn given(&self) -> Vec<(&'static str, u64)> {
                let own = [$((stringify!($key), $crate::keys::Written::line(&self.$key))),*];
                let own = own.into_iter().filter_map(|(key, line)| Some((key, line?))).collect::<Vec<_>>();
                [own, $($crate::keys::Keys::given(&self.$part),)? $($crate::keys::Keys::given(&self.$shared))?].concat()
            }

            fn or(self, other: &Self) -> Self {
                Self {
                    $($key: $crate::keys::Written::or(self.$key, &other.$key),)*
                    $($part: $crate::keys::Keys::or(self.$part, &other.$part),)?
                    $($shared: $crate::keys::Keys::or(self.$shared, &other.$shared),)?
                }
            }
        }
    };
}

pub(crate) use keys;
