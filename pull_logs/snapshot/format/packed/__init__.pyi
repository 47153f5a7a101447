from .columns import Columns as Columns
from .columns import ColumnsBuilder as ColumnsBuilder
from .members import MemberMap as MemberMap
from .members import MemberNames as MemberNames
from .texts import PackedTexts as PackedTexts
from .texts import TextsBuilder as TextsBuilder
