"""Results in other formats, a module for each: ``vtt``, ``srt``, ``coco``, ``mot``, ``supervision_``, ``html``.

The text formats share their verbs: ``format(results) -> str``, ``parse(text) -> results``, ``write(results, path)``,
``read(path)``. Whatever a file holds, ``parse`` and ``read`` give results or raise ``InputError`` with the place in it.
"""
