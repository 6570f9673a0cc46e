use ckan_worker_abi as abi;

/// What a plugin says of itself in its file, readable without running it.
///
/// [`export_worker!`](crate::export_worker) fills it in; name what differs from the default there.
#[derive(Debug, Clone, Copy)]
pub struct Manifest {
    /// The worker's name, as on the command line; the crate's name without `ckan-worker-`.
    pub name: &'static str,
    /// The plugin's version; the crate's.
    pub version: &'static str,
    /// One line on what it does; the crate's.
    pub description: &'static str,
    /// Its licence; the crate's.
    pub license: &'static str,
    /// Where to read about it; the crate's.
    pub homepage: &'static str,
    /// The routing keys it wants, as in `["Package", "Resource"]`; empty for all.
    pub routing_keys: &'static [&'static str],
    /// The operations it wants, as in `["new", "changed"]`; empty for all.
    pub operations: &'static [&'static str],
    /// The CKAN actions it writes with, as in `["package_revise"]`.
    pub writes: &'static [&'static str],
    /// Whether its calls must come one after another; by default several come at once.
    pub serial: bool,
    /// How long notifications about one dataset are gathered, in milliseconds, so that a burst of them becomes one call
    /// with the newest; 0 for not at all. For workers that look up the dataset themselves.
    pub coalesce_ms: u64,
    /// What of a dataset it looks at, as paths in `package_show`: `"private"`, `"resources.*.url"`, `"*"` for all. When
    /// none of it has changed since the last run that ended well, it is not run again. Empty for all but what changes by
    /// itself (as `metadata_modified`) and what the worker writes. Only of workers that write to CKAN, or that say this.
    pub inputs: &'static [&'static str],
    /// What of a dataset it writes, as paths like those: never an input.
    pub outputs: &'static [&'static str],
    /// Whether it also wants to hear how the runs of other workers ended: as notifications of the class `Run` with the
    /// operation `done` or `dead`, for it alone, a little later.
    pub outcomes: bool,
}

impl Manifest {
    /// The manifest of a crate, before anything else is said.
    #[doc(hidden)]
    pub const fn of_crate(
        name: &'static str,
        version: &'static str,
        description: &'static str,
        license: &'static str,
        homepage: &'static str,
    ) -> Self {
        Self {
            name: without_prefix(name, "ckan-worker-"),
            version,
            description,
            license,
            homepage,
            routing_keys: &[],
            operations: &[],
            writes: &[],
            serial: false,
            coalesce_ms: 0,
            inputs: &[],
            outputs: &[],
            outcomes: false,
        }
    }

    /// Writes the manifest as JSON and answers how long it is; with no room, only counts.
    #[doc(hidden)]
    pub const fn write<const ROOM: usize>(&self) -> ([u8; ROOM], usize) {
        Json { text: [0; ROOM], length: 0 }
            .raw("{\"name\":")
            .text(self.name)
            .raw(",\"version\":")
            .text(self.version)
            .raw(",\"abi\":")
            .text(abi::VERSION)
            .raw(",\"sdk\":")
            .text(env!("CARGO_PKG_VERSION"))
            .raw(",\"rustc\":")
            .text(env!("CKAN_WORKER_RUSTC"))
            .raw(",\"target\":")
            .text(env!("CKAN_WORKER_TARGET"))
            .raw(",\"description\":")
            .text(self.description)
            .raw(",\"license\":")
            .text(self.license)
            .raw(",\"homepage\":")
            .text(self.homepage)
            .raw(",\"routing_keys\":")
            .texts(self.routing_keys)
            .raw(",\"operations\":")
            .texts(self.operations)
            .raw(",\"writes\":")
            .texts(self.writes)
            .raw(if self.serial { ",\"serial\":true" } else { ",\"serial\":false" })
            .raw(",\"coalesce_ms\":")
            .number(self.coalesce_ms)
            .raw(",\"inputs\":")
            .texts(self.inputs)
            .raw(",\"outputs\":")
            .texts(self.outputs)
            .raw(if self.outcomes { ",\"outcomes\":true" } else { ",\"outcomes\":false" })
            .raw("}")
            .done()
    }
}

/// The manifest as it stands in the library: an ELF note, which is also what is searched for on other systems.
#[doc(hidden)]
#[repr(C, align(4))]
pub struct Note<const LENGTH: usize> {
    name_length: u32,
    length: u32,
    kind: u32,
    name: [u8; 12],
    text: [u8; LENGTH],
}

impl<const LENGTH: usize> Note<LENGTH> {
    #[doc(hidden)]
    pub const fn new(manifest: &Manifest) -> Self {
        let (text, length) = manifest.write::<LENGTH>();
        assert!(length <= LENGTH);
        // 11: the name with one closing zero byte, as the format of ELF notes counts it. The length of no manifest
        // comes near 4 GiB.
        #[expect(clippy::cast_possible_truncation, reason = "a manifest is a few hundred bytes")]
        Self { name_length: 11, length: length as u32, kind: abi::MANIFEST_NOTE_TYPE, name: abi::MANIFEST_MAGIC, text }
    }
}

/// The room that a manifest takes in its note: its length, rounded up to whole words.
#[doc(hidden)]
pub const fn note_length(manifest: &Manifest) -> usize {
    manifest.write::<0>().1.next_multiple_of(4)
}

/// JSON as it is written by the compiler; what does not fit is counted all the same.
struct Json<const ROOM: usize> {
    text: [u8; ROOM],
    length: usize,
}

impl<const ROOM: usize> Json<ROOM> {
    const fn done(self) -> ([u8; ROOM], usize) {
        (self.text, self.length)
    }

    const fn byte(mut self, byte: u8) -> Self {
        if self.length < ROOM {
            self.text[self.length] = byte;
        }
        self.length += 1;
        self
    }

    const fn raw(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            self = self.byte(bytes[index]);
            index += 1;
        }
        self
    }

    const fn number(mut self, number: u64) -> Self {
        let mut unit = 1;
        while number / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self = self.byte(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    const fn text(mut self, text: &str) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self = self.byte(b'"');
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            self = match byte {
                b'"' | b'\\' => self.byte(b'\\').byte(byte),
                0..0x20 => self.raw("\\u00").byte(HEX[(byte >> 4) as usize]).byte(HEX[(byte & 15) as usize]),
                _ => self.byte(byte),
            };
            index += 1;
        }
        self.byte(b'"')
    }

    const fn texts(mut self, texts: &[&str]) -> Self {
        self = self.byte(b'[');
        let mut index = 0;
        while index < texts.len() {
            if index > 0 {
                self = self.byte(b',');
            }
            self = self.text(texts[index]);
            index += 1;
        }
        self.byte(b']')
    }
}

const fn without_prefix(name: &'static str, prefix: &str) -> &'static str {
    let (whole, front) = (name.as_bytes(), prefix.as_bytes());
    if whole.len() <= front.len() {
        return name;
    }
    let mut index = 0;
    while index < front.len() {
        if whole[index] != front[index] {
            return name;
        }
        index += 1;
    }
    name.split_at(front.len()).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest = Manifest {
        routing_keys: &["Package", "Resource"],
        coalesce_ms: 2040,
        ..Manifest::of_crate("ckan-worker-geo", "1.2.3", "says \"hi\"\n\\", "MIT", "")
    };

    #[test]
    fn the_compiler_writes_json_that_can_be_read_again() {
        const LENGTH: usize = note_length(&MANIFEST);
        let (text, length) = MANIFEST.write::<LENGTH>();
        let value: serde_json::Value = serde_json::from_slice(&text[..length]).unwrap();
        assert_eq!(value["name"], "geo");
        assert_eq!(value["description"], "says \"hi\"\n\\");
        assert_eq!(value["routing_keys"], serde_json::json!(["Package", "Resource"]));
        assert_eq!(value["coalesce_ms"], 2040);
        assert_eq!(value["serial"], false);
        assert_eq!(value["abi"], "1.1.0");
    }
}
