// Keeps what is marked data-live up to date: asks for the page again and puts its parts in the place of ours.
"use strict";

(() => {
  const INTERVAL_MS = 3000;
  const controls = document.querySelector("[data-live-controls]");
  const state = document.querySelector("[data-live-state]");
  const toggle = document.querySelector("[data-live-toggle]");
  if (!document.querySelector("[data-live]")) return;

  let paused = false;

  const time = () => new Date().toLocaleTimeString();

  // What a person has focused or selected must not be pulled away.
  const selects = (part) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(part, true);
  };

  const place = (part) => {
    const focused = document.activeElement;
    if (!part.contains(focused) || !focused.getAttribute("href")) return null;
    return focused.getAttribute("href");
  };

  const update = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (!newer || newer.innerHTML === part.innerHTML || selects(part)) continue;
      const href = place(part);
      part.replaceChildren(...newer.childNodes);
      if (href) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
    }
  };

  const refresh = async () => {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!answer.ok) throw new Error(answer.status);
        update(new DOMParser().parseFromString(await answer.text(), "text/html"));
        state.textContent = `Live, ${time()}`;
        state.classList.remove("stale");
      } catch {
        state.textContent = `No answer, ${time()}`;
        state.classList.add("stale");
      }
    }
    setTimeout(refresh, INTERVAL_MS);
  };

  toggle.addEventListener("click", () => {
    paused = !paused;
    toggle.textContent = paused ? "Resume" : "Pause";
    state.textContent = paused ? `Paused, ${time()}` : `Live, ${time()}`;
  });

  controls.hidden = false;
  state.textContent = `Live, ${time()}`;
  setTimeout(refresh, INTERVAL_MS);
})();
