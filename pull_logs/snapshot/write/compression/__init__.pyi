from .texts import compressed_members as compressed_members
