"""Rows to folders of files, by host, date and hour: on this machine or in S3.

dataset                     parquet: and lines:
partitions                  the layout: names of folders and files
partitioned                 the sink: files that are open, when they end, what a failing disk costs
file_format                 what a format must do; parquet and zstd_lines are such
local_folder, s3_folder     where files come to be
retention                   which old files go
"""
