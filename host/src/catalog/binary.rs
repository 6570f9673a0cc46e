//! What a library file says about itself, read from its bytes without running any of them.

use std::fmt;

use ckan_worker_abi::{MANIFEST_MAGIC, MANIFEST_NOTE_TYPE};
use object::read::elf::{Dyn, ElfFile, FileHeader, ProgramHeader, SectionHeader};
use object::{Architecture, File, Object, ObjectKind, ReadRef};

use super::manifest::Manifest;

/// The magic as the name of a note reads: without its closing zero bytes.
const NOTE_NAME: &[u8] = MANIFEST_MAGIC.split_at(10).0;

/// What stands in a library file.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `ELF`, `Mach-O` or `PE`.
    pub format: &'static str,
    /// The processor it is for, as the first word of a target: `x86_64`.
    pub machine: String,
    /// The libraries it needs, as in `libc.so.6`.
    pub needed: Vec<String>,
    /// The lowest glibc that it runs with.
    pub glibc: Option<Glibc>,
    /// What it says of itself; `None` if it says nothing, so is not a plugin.
    pub manifest: Option<Result<Manifest, String>>,
}

/// A version of glibc, as in 2.36.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

impl Glibc {
    /// Reads `2.36`.
    pub fn read(text: &str) -> Option<Self> {
        super::manifest::major_minor(text).map(|(major, minor)| Self(major, minor))
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

impl Facts {
    /// Reads a library.
    ///
    /// # Errors
    /// Why it is none, as the end of a sentence that begins with the file's name.
    pub fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Self, String> {
        if data.len() == Ok(0) {
            return Err("is empty".to_owned());
        }
        if object::FileKind::parse(data).is_err() {
            return Err("is not a library at all".to_owned());
        }
        let file = File::parse(data).map_err(damaged)?;
        if file.kind() != ObjectKind::Dynamic {
            return Err("is not a shared library".to_owned());
        }
        let mut facts = Self {
            format: "Mach-O",
            machine: machine(file.architecture()),
            needed: Vec::new(),
            glibc: None,
            manifest: None,
        };
        match &file {
            File::Elf32(elf) => facts.read_elf(elf)?,
            File::Elf64(elf) => facts.read_elf(elf)?,
            File::Pe32(_) | File::Pe64(_) => facts.read_other("PE", data)?,
            _ => facts.read_other("Mach-O", data)?,
        }
        Ok(facts)
    }

    fn read_elf<'data, Elf: FileHeader, R: ReadRef<'data>>(
        &mut self,
        file: &ElfFile<'data, Elf, R>,
    ) -> Result<(), String> {
        self.format = "ELF";
        all_there(file)?;
        self.needed = needed(file).map_err(damaged)?;
        self.glibc = glibc(file).map_err(damaged)?;
        self.manifest = note(file).map_err(damaged)?.map(Manifest::read);
        Ok(())
    }

    fn read_other<'data, R: ReadRef<'data>>(&mut self, format: &'static str, data: R) -> Result<(), String> {
        self.format = format;
        let length = data.len().map_err(|()| "cannot be read".to_owned())?;
        let bytes = data.read_bytes_at(0, length).map_err(|()| "cannot be read".to_owned())?;
        self.manifest = scan_for_note(bytes).map(Manifest::read);
        Ok(())
    }
}

fn damaged(error: object::Error) -> String {
    format!("is damaged or incomplete: {}", error.to_string().to_lowercase())
}

/// Refuses a file that ends before its segments do: the system would map what is not there, and die when it is touched.
fn all_there<'data, Elf: FileHeader, R: ReadRef<'data>>(file: &ElfFile<'data, Elf, R>) -> Result<(), String> {
    let length = file.data().len().map_err(|()| "cannot be read".to_owned())?;
    for segment in file.elf_program_headers() {
        let (offset, size) = segment.file_range(file.endian());
        let end = offset.saturating_add(size);
        if end > length {
            return Err(format!("is damaged or incomplete: it has {length} bytes of at least {end}"));
        }
    }
    Ok(())
}

fn needed<'data, Elf: FileHeader, R: ReadRef<'data>>(
    file: &ElfFile<'data, Elf, R>,
) -> object::read::Result<Vec<String>> {
    let endian = file.endian();
    let sections = file.elf_section_table();
    let Some((entries, link)) = sections.dynamic(endian, file.data())? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, file.data(), link)?;
    let mut needed = Vec::new();
    for entry in entries {
        if entry.tag(endian) == object::elf::DT_NEEDED {
            let offset = u32::try_from(entry.d_val(endian).into()).unwrap_or(u32::MAX);
            if let Ok(name) = strings.get(offset) {
                needed.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(needed)
}

/// The highest `GLIBC_x.y` among the symbol versions it asks for.
fn glibc<'data, Elf: FileHeader, R: ReadRef<'data>>(
    file: &ElfFile<'data, Elf, R>,
) -> object::read::Result<Option<Glibc>> {
    let endian = file.endian();
    let sections = file.elf_section_table();
    let Some((mut libraries, link)) = sections.gnu_verneed(endian, file.data())? else { return Ok(None) };
    let strings = sections.strings(endian, file.data(), link)?;
    let mut highest = None;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?);
            highest = highest.max(name.strip_prefix("GLIBC_").and_then(Glibc::read));
        }
    }
    Ok(highest)
}

/// The manifest's note, from the section or, where a tool has removed the section table, from the segment.
fn note<'data, Elf: FileHeader, R: ReadRef<'data>>(
    file: &ElfFile<'data, Elf, R>,
) -> object::read::Result<Option<&'data [u8]>> {
    let (endian, data) = (file.endian(), file.data());
    let mut groups = Vec::new();
    for section in file.elf_section_table().iter() {
        groups.extend(section.notes(endian, data)?);
    }
    for segment in file.elf_program_headers() {
        groups.extend(segment.notes(endian, data)?);
    }
    for mut notes in groups {
        while let Some(note) = notes.next()? {
            if note.name() == NOTE_NAME && note.n_type(endian).0 == MANIFEST_NOTE_TYPE {
                return Ok(Some(note.desc()));
            }
        }
    }
    Ok(None)
}

/// Looks for the note anywhere, in files that have no notes of their own. The words before the magic tell it from the
/// magic alone, which stands in every host and SDK.
fn scan_for_note(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let mut from = 0;
    while let Some(found) = bytes.get(from..)?.windows(MANIFEST_MAGIC.len()).position(|window| window == MANIFEST_MAGIC)
    {
        let magic = from + found;
        from = magic + MANIFEST_MAGIC.len();
        let Some(start) = magic.checked_sub(12) else { continue };
        if word(start) == Some(11)
            && word(start + 8) == Some(MANIFEST_NOTE_TYPE)
            && let Some(length) = word(start + 4)
            && let Some(text) = bytes.get(from..from + length as usize)
        {
            return Some(text);
        }
    }
    None
}

fn machine(architecture: Architecture) -> String {
    match architecture {
        Architecture::X86_64 => "x86_64".to_owned(),
        Architecture::I386 => "x86".to_owned(),
        Architecture::Aarch64 => "aarch64".to_owned(),
        Architecture::Arm => "arm".to_owned(),
        Architecture::Riscv64 => "riscv64".to_owned(),
        Architecture::PowerPc64 => "powerpc64".to_owned(),
        Architecture::S390x => "s390x".to_owned(),
        Architecture::LoongArch64 => "loongarch64".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_found_behind_a_bare_magic() {
        let mut bytes = b"some code CKANWORKER\0\0 more code...".to_vec();
        bytes.extend([11_u32, 2, MANIFEST_NOTE_TYPE].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(MANIFEST_MAGIC);
        bytes.extend(b"{}and so on");
        assert_eq!(scan_for_note(&bytes), Some(&b"{}"[..]));
        assert_eq!(scan_for_note(&bytes[..40]), None);
    }

    #[test]
    fn what_is_no_library_is_told_from_a_damaged_one() {
        assert_eq!(Facts::read(&b"hello, I am a text"[..]).unwrap_err(), "is not a library at all");
        assert_eq!(Facts::read(&b""[..]).unwrap_err(), "is empty");
        let damaged = Facts::read(&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..]).unwrap_err();
        assert!(damaged.starts_with("is damaged or incomplete"), "{damaged}");
    }
}
