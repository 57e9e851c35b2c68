"""What a hand does on a page: it drops files, and drags with the mouse."""

from pathlib import Path


def drop(page, *paths):
    """Drop files on the window, as a file manager does."""
    files = [(Path(path).name, list(Path(path).read_bytes())) for path in paths]
    data = page.evaluate_handle(
        """files => {
            const data = new DataTransfer();
            for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        files,
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", event, {"dataTransfer": data})


def drag(page, element, x, y):
    """Drag an element by its middle to a place, with the mouse."""
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, y, steps=8)
    page.mouse.up()
