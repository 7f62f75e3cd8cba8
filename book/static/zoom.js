// Every picture opens large, by click or Enter, and closes by Escape, click or Enter.
(() => {
  "use strict";
  const box = document.createElement("dialog");
  box.className = "zoomed";
  box.setAttribute("aria-label", "picture, enlarged");
  const large = document.createElement("img");
  box.append(large);
  const open = picture => {
    large.src = picture.src;
    large.alt = picture.alt;
    box.showModal();
  };
  box.addEventListener("click", () => box.close());
  addEventListener("keydown", event => { // before the theme, which keeps Escape to itself
    if (!box.open || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    box.close();
  }, true);
  addEventListener("DOMContentLoaded", () => {
    document.body.append(box);
    for (const picture of document.querySelectorAll(".bd-article figure img")) {
      const link = picture.closest("a");
      if (link && !link.classList.contains("image-reference")) continue;
      if (link) link.replaceWith(picture); // it led to the bare file
      picture.tabIndex = 0;
      picture.classList.add("zooms");
      picture.setAttribute("role", "button");
      picture.setAttribute("aria-haspopup", "dialog");
      picture.addEventListener("click", () => open(picture));
      picture.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        open(picture);
      });
    }
  });
})();
