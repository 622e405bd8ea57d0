//! Rows that memory has no room for, in files on the local disk.
//!
//! ```text
//!   columns ─► rows, one after another (Arrow's row format) ─► a file without a name
//!                 └─ where each ends stays in memory             └─ gone when nothing needs it
//! ```
//!
//! A few rows are read without the others, so what is on disk costs what is asked of it. The files have
//! no names: a process that is killed leaves nothing behind. They hold no state of record; what must
//! survive the process is in the checkpoints.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use crate::error::{Error, Result};

/// A file of this size takes no more rows: its space is free when the last of them is not needed.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Rows with fewer bytes between them are read in one go.
const GAP_BYTES_MAX: u64 = 4096;

/// The local disk as a place for rows.
#[derive(Debug)]
pub struct SpillStore {
    folder: PathBuf,
    /// The file that takes rows.
    open: Mutex<Option<Arc<SpillFile>>>,
    bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct SpillFile {
    content: Mutex<Content>,
    folder: PathBuf,
    /// Bytes of all files of the store.
    total: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Content {
    file: File,
    length: u64,
}

impl SpillStore {
    /// A store of files in `folder`, which is made when the first rows come.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::new(None), bytes: Arc::default() }
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Writes rows: at least one column, all of the same length.
    ///
    /// # Errors
    ///
    /// When the disk takes them not.
    pub(crate) fn write(&self, columns: &[ArrayRef]) -> Result<Spilled> {
        let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone()));
        let converter = RowConverter::new(fields.collect())?;
        let rows = converter.convert_columns(columns)?.try_into_binary()?;
        let first = rows.value_offsets().first().copied().unwrap_or(0);
        let place = |end: &i32| u32::try_from(end - first).unwrap_or(u32::MAX);
        let ends: Vec<u32> = rows.value_offsets().iter().skip(1).map(place).collect();
        let start = usize::try_from(first).unwrap_or(0);
        let length = ends.last().map_or(0, |end| *end as usize);
        let bytes = &rows.value_data()[start..start + length];
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.take() {
            Some(file) => file,
            None => Arc::new(SpillFile::create(&self.folder, &self.bytes)?),
        };
        let offset = file.append(bytes)?;
        if offset + bytes.len() as u64 <= FILE_BYTES_MAX {
            *open = Some(Arc::clone(&file));
        }
        Ok(Spilled { file, offset, ends, types, converter })
    }
}

impl SpillFile {
    fn create(folder: &Path, total: &Arc<AtomicU64>) -> Result<Self> {
        let created = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        let file = created.map_err(|error| failed(folder, "make a file", &error))?;
        let content = Mutex::new(Content { file, length: 0 });
        Ok(Self { content, folder: folder.to_owned(), total: Arc::clone(total) })
    }

    /// Appends `bytes`; returns where they begin.
    fn append(&self, bytes: &[u8]) -> Result<u64> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let start = content.length;
        let file = &mut content.file;
        let written = file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(bytes));
        written.map_err(|error| failed(&self.folder, "write", &error))?;
        content.length += bytes.len() as u64;
        self.total.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(start)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let file = &mut content.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(into));
        read.map_err(|error| failed(&self.folder, "read", &error))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let content = self.content.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.total.fetch_sub(content.length, Ordering::Relaxed);
    }
}

fn failed(folder: &Path, what: &str, error: &std::io::Error) -> Error {
    let message = format!("cannot {what} in {} for state beyond memory: {error}", folder.display());
    Error::settings(message).with_hint("give it room there, another folder (--spill), or memory")
}

/// Rows on disk.
#[derive(Debug)]
pub(crate) struct Spilled {
    file: Arc<SpillFile>,
    /// Where they begin in the file.
    offset: u64,
    /// Where each row ends, from there.
    ends: Vec<u32>,
    types: Vec<DataType>,
    converter: RowConverter,
}

impl Spilled {
    /// Bytes of memory that it takes to know where the rows are.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>()
    }

    /// The rows with these numbers, in this order, as columns.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(crate) fn take(&self, rows: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut in_file: Vec<u32> = rows.to_vec();
        in_file.sort_unstable();
        in_file.dedup();
        // Where each of them is in what is read, in the order of the file.
        let (bytes, starts) = self.read(&in_file)?;
        let parser = self.converter.parser();
        let parsed = rows.iter().map(|row| {
            let at = in_file.partition_point(|other| other < row);
            let start = starts[at];
            parser.parse(&bytes[start..start + self.length(*row)])
        });
        let columns = self.converter.convert_rows(parsed)?;
        let each = columns.into_iter().zip(&self.types);
        // The row format gives some encodings back as plain values.
        let same = |(column, wanted): (ArrayRef, &DataType)| match column.data_type() == wanted {
            true => Ok(column),
            false => Ok(cast(&column, wanted)?),
        };
        each.map(same).collect()
    }

    /// All rows.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<ArrayRef>> {
        let rows: Vec<u32> = (0_u32..).take(self.ends.len()).collect();
        self.take(&rows)
    }

    fn start(&self, row: u32) -> u64 {
        row.checked_sub(1).map_or(0, |before| u64::from(self.ends[before as usize]))
    }

    fn length(&self, row: u32) -> usize {
        usize::try_from(u64::from(self.ends[row as usize]) - self.start(row)).unwrap_or(0)
    }

    /// Reads rows in ascending order; returns their bytes, and where each begins among them.
    fn read(&self, rows: &[u32]) -> Result<(Vec<u8>, Vec<usize>)> {
        let (mut bytes, mut starts) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut rest = rows;
        while let Some(&first) = rest.first() {
            // As long as the next row begins near the end of the one before.
            let near = |pair: &&[u32]| {
                self.start(pair[1]) - u64::from(self.ends[pair[0] as usize]) <= GAP_BYTES_MAX
            };
            let count = 1 + rest.windows(2).take_while(near).count();
            let (run, behind) = rest.split_at(count);
            let last = run.last().copied().unwrap_or(first);
            let (from, to) = (self.start(first), u64::from(self.ends[last as usize]));
            let base = bytes.len();
            let place = |at: u64| base + usize::try_from(at - from).unwrap_or(usize::MAX);
            starts.extend(run.iter().map(|row| place(self.start(*row))));
            bytes.resize(place(to), 0);
            self.file.read(self.offset + from, &mut bytes[base..])?;
            rest = behind;
        }
        Ok((bytes, starts))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringViewArray, UInt32Array};
    use arrow::compute::take_arrays;
    use proptest::prelude::*;

    use super::*;

    fn columns(rows: u32, offset: i64) -> Vec<ArrayRef> {
        let number = |n: u32| (!n.is_multiple_of(5)).then_some(i64::from(n) * 1_000_003 + offset);
        let numbers: Int64Array = (0..rows).map(number).collect();
        let texts: StringArray = (0..rows)
            .map(|n| (!n.is_multiple_of(7)).then(|| format!("{n:0$}", n as usize % 300)))
            .collect();
        let views: StringViewArray =
            (0..rows).map(|n| Some(format!("view {n} {offset}"))).collect();
        vec![Arc::new(numbers), Arc::new(texts), Arc::new(views)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        /// Any rows, in any order, as often as one likes.
        #[test]
        fn what_is_written_is_read(
            sizes in prop::collection::vec(1..200_u32, 1..5),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..50),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = SpillStore::new(folder.path().join("made"));
            let written: Vec<_> = sizes.iter().zip(0..).map(|(rows, offset)| {
                let columns = columns(*rows, offset);
                (store.write(&columns).unwrap(), columns)
            }).collect();
            for ((spilled, columns), rows) in written.iter().zip(&sizes) {
                let rows: Vec<u32> =
                    picks.iter().map(|pick| u32::try_from(pick.index(*rows as usize)).unwrap()).collect();
                let expected = take_arrays(columns, &UInt32Array::from(rows.clone()), None).unwrap();
                prop_assert_eq!(&spilled.take(&rows).unwrap(), &expected);
                prop_assert_eq!(&spilled.all().unwrap(), columns);
            }
            prop_assert!(store.bytes() > 0);
            drop(written);
            drop(store.open.lock().unwrap().take());
            prop_assert_eq!(store.bytes(), 0);
            prop_assert_eq!(std::fs::read_dir(folder.path().join("made")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let store = SpillStore::new(folder.path().join("file/in"));
        let error = store.write(&columns(1, 0)).unwrap_err();
        assert!(error.message().contains("file/in"), "{error}");
    }
}
