"""Data: sources of every kind, preprocessing fitted on training rows, splits, and batches.

- `read` reads a source (`Source`), `sources` lists the bundled ones, `read_inputs` reads inputs for prediction.
- `fit_preprocessor`, `preprocessor_from_json`: from raw inputs to tensors (`Preprocessor` and its kinds).
- `TargetEncoder`: from raw targets to class indices or standardised numbers, and back.
- `split` cuts rows into training, validation and test (`Split`); `cut_folds` into folds (`Folds`); `draw_rows` takes
  a part of a large source.
- `DataPart` and `Batches`: resident tensors, and batches of them in a reproducible order.
- `FoldData` and `FoldBatches`: a source as every fold sees it, and a batch a member.
- `examine` looks for what makes scores dishonest: copies, leaks, cut groups, parts that differ (`Finding`).
- `Preparer`: worker processes that prepare costly samples ahead, the same bits with any number of them.
"""

from tenfold.data.augmentation import Augmentation
from tenfold.data.batches import Batches, DataPart
from tenfold.data.bundled import SOURCES, Bundled, sources
from tenfold.data.datasets import DatasetPreprocessor
from tenfold.data.features import feature_part
from tenfold.data.findings import Finding
from tenfold.data.fitting import fit_preprocessor, preprocessor_from_json
from tenfold.data.fold_batches import FoldBatches, FoldMember, MemberBatch
from tenfold.data.fold_data import FoldData, fit_fold_encoders, fit_fold_preprocessors
from tenfold.data.folds import MANNERS, Folds, cut_folds
from tenfold.data.holdouts import cut_holdouts
from tenfold.data.honesty import examine
from tenfold.data.image_preprocessor import ImagePreprocessor
from tenfold.data.inputs import ArrayInputs, DatasetInputs, ImageFileInputs, Inputs, PictureFormat, TableInputs
from tenfold.data.prediction import RawInputs, read_inputs
from tenfold.data.preparing import Preparer, WorkersWarning
from tenfold.data.preprocessor import Preprocessor
from tenfold.data.read import read
from tenfold.data.source import Skipped, Source
from tenfold.data.splitting import Split, split
from tenfold.data.subset import draw_rows, interleaved, num_of
from tenfold.data.table_preprocessor import TablePreprocessor
from tenfold.data.target_encoder import TargetEncoder

__all__ = [
    "MANNERS",
    "SOURCES",
    "ArrayInputs",
    "Augmentation",
    "Batches",
    "Bundled",
    "DataPart",
    "DatasetInputs",
    "DatasetPreprocessor",
    "Finding",
    "FoldBatches",
    "FoldData",
    "FoldMember",
    "Folds",
    "ImageFileInputs",
    "ImagePreprocessor",
    "Inputs",
    "MemberBatch",
    "PictureFormat",
    "Preparer",
    "Preprocessor",
    "RawInputs",
    "Skipped",
    "Source",
    "Split",
    "TableInputs",
    "TablePreprocessor",
    "TargetEncoder",
    "WorkersWarning",
    "cut_folds",
    "cut_holdouts",
    "draw_rows",
    "examine",
    "feature_part",
    "fit_fold_encoders",
    "fit_fold_preprocessors",
    "fit_preprocessor",
    "interleaved",
    "num_of",
    "preprocessor_from_json",
    "read",
    "read_inputs",
    "sources",
    "split",
]
