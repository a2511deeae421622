"""Models that read texts: classifiers, taggers, embedders and rerankers, one readable recipe each."""
