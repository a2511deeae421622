"""Count words."""

import argparse

from pyspark.sql import SparkSession

parser = argparse.ArgumentParser()
parser.add_argument("--text")
parser.add_argument("--counts")
given = parser.parse_args()

spark = SparkSession.builder.appName("count").getOrCreate()
lines = spark.read.text(given.text).rdd.map(lambda row: row[0])
counts = lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(int.__add__)
counts.map(lambda pair: f"{pair[0]} {pair[1]}").sortBy(str).coalesce(1).saveAsTextFile(f"{given.counts}/words")
spark.stop()
