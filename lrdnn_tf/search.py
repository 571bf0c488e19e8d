"""Finds people in a folder of crops, by an image or by attributes in words.

python -m lrdnn_tf.search --model=DIR --gallery=DIR --query=FILE|DIR
python -m lrdnn_tf.search --model=DIR --gallery=DIR --where="gender=female,backpack=yes,upper_colour=red"
"""

from absl import flags

from lrdnn_base import command
from lrdnn_tf.searching.search import search


def main() -> None:
    args = flags.FLAGS
    matches = search(
        args.gallery,
        args.query,
        args.model,
        args.top,
        args.out_dir,
        where=args.where,
        reranked=args.rerank,
        server=args.server,
        index_dir=args.index_dir,
        rebuild=args.rebuild,
    )
    one_query = "query" in matches and matches["query"].nunique() <= 1
    shown = matches.drop(columns="query") if one_query else matches
    print(shown.to_string(index=False, float_format="%.3f") if len(matches) else "nothing found")
    if args.out_dir:
        print(f"wrote matches.csv{' and matches.png' if len(matches) else ''} to {args.out_dir}")


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "A SavedModel from lrdnn_tf.export: a version, or the folder of versions.")
    flags.DEFINE_string("server", None, "TensorFlow Serving in place of a model: HOST:PORT, or http://HOST:PORT.")
    flags.DEFINE_string("gallery", None, "Folder of person crops to search.")
    flags.DEFINE_string("query", None, "A crop of the person to find, or a folder of crops.")
    flags.DEFINE_list("where", [], "Only images with these attributes: gender=female,upper_colour=red.")
    flags.DEFINE_bool("rerank", False, "Order the nearest 1000 of each query by k-reciprocal re-ranking.")
    flags.DEFINE_integer("top", 10, "How many matches to show for each query.", lower_bound=1)
    flags.DEFINE_string("out_dir", None, "Folder for matches.csv, and matches.png with the first queries.")
    flags.DEFINE_string("index_dir", None, "Folder of the gallery's index. Default GALLERY/.lrdnn_index.")
    flags.DEFINE_bool("rebuild", False, "Rebuild the gallery's index from scratch.")
    flags.mark_flags_as_required(["gallery"])
    command.run(main)
