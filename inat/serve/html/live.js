"use strict";
// Asks again for the page while it is open, and puts what has changed into it: what the user chose, opened and scrolled
// stays. The server answers with 304 while nothing has changed.
(() => {
  const root = document.documentElement, badge = document.getElementById("live");
  const KEPT = new Set(["class", "style", "tabindex", "open", "checked"]);  // attributes that the page's user or script sets
  const THEME = "theme";
  const storage = (() => { try { return localStorage; } catch { return null; } })();  // which a browser may forbid
  let timer = 0, asking = null;

  if (storage && storage.getItem(THEME)) root.dataset.theme = storage.getItem(THEME);
  root.classList.add("scripted");

  // The token stays in the cookie, not in the address, which is copied and kept in the history.
  const own = new URL(location.href);
  if (own.searchParams.has("token")) {
    own.searchParams.delete("token");
    history.replaceState(null, "", own);
  }

  function clock(seconds) {
    return new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });
  }

  function showMade() {
    badge.hidden = false;
    badge.className = "";
    const words = document.createElement("span");
    words.className = "words";
    words.textContent = "live: updated ";
    badge.replaceChildren(words, clock(root.dataset.made));
  }

  function showLost(reason) {
    badge.hidden = false;
    badge.className = "lost";
    badge.textContent = `${reason}; last update ${clock(root.dataset.made)}`;
  }

  function isOwnedByScript(node) {
    return node.nodeType === Node.ELEMENT_NODE && (node.classList.contains("plot") || node.classList.contains("owned"));
  }

  function morph(old, fresh) {
    if (isOwnedByScript(old)) return;
    for (const { name, value } of fresh.attributes) {
      if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.localName === "svg" || old.localName === "select" || old.localName === "pre") {
      if (old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
      return;
    }
    morphChildren(old, fresh);
  }

  function fits(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
  }

  function morphChildren(old, fresh) {
    const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let place = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      let match = child.id ? named.get(child.id) : place;
      while (!child.id && match && match.id && !fresh.querySelector(`:scope > #${CSS.escape(match.id)}`)) {
        match = match.nextSibling;  // one that has gone
      }
      if (!match || !fits(match, child)) {
        old.insertBefore(document.importNode(child, true), place);
        continue;
      }
      if (match !== place) old.insertBefore(match, place);
      if (match.nodeType === Node.ELEMENT_NODE) morph(match, child);
      else if (match.data !== child.data) match.data = child.data;
      place = match.nextSibling;
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  async function show(page) {
    const active = document.activeElement;
    for (const id of ["header", "main"]) {
      const old = document.getElementById(id), fresh = page.getElementById(id);
      fresh.querySelectorAll("#live, #theme").forEach((node) => node.replaceWith(document.getElementById(node.id).cloneNode(true)));
      morph(old, fresh);
    }
    if (active && active.isConnected && document.activeElement !== active) active.focus({ preventScroll: true });
    document.title = page.title;
    for (const name of ["tag", "pause", "made"]) root.dataset[name] = page.documentElement.dataset[name];
    const [plots, data] = ["plots", "data"].map((id) => page.getElementById(id).textContent);
    const same = ["plots", "data"].every((id, i) => document.getElementById(id).textContent === [plots, data][i]);
    document.getElementById("plots").textContent = plots;
    document.getElementById("data").textContent = data;
    if (!same) await window.report.update(JSON.parse(plots), JSON.parse(data));
  }

  async function ask() {
    clearTimeout(timer);
    if (asking) asking.abort();
    const request = asking = new AbortController();
    let answer;
    try {
      answer = await fetch(location.href, {
        headers: { "If-None-Match": root.dataset.tag }, cache: "no-store", signal: request.signal,
      });
      if (answer.status === 200 || answer.status === 404) {
        await show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
      if (answer.status === 403) showLost("the server has begun anew; open its new address");
      else showMade();
    } catch (error) {
      if (request.signal.aborted) return;
      showLost(answer ? "this page cannot be refreshed; load it again" : "the server does not answer");
      if (answer) console.error(error);
    }
    asking = null;
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(ask, 1000 * Number(root.dataset.pause));
  }

  function choose() {
    // What is chosen is in the address, which can be copied, and which the next refresh asks for.
    const form = document.getElementById("choice");
    const query = new URLSearchParams([...new FormData(form)].filter(([name, value]) => name === "trial" || value));
    history.replaceState(null, "", `${location.pathname}?${query}`);
    ask();
  }

  document.addEventListener("change", (event) => { if (event.target.closest("#choice")) choose(); });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "choice") return;
    event.preventDefault();
    choose();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  document.getElementById("theme").addEventListener("click", () => {
    // The script of the report has its own listener, which changes the theme; it comes after this one.
    setTimeout(() => storage && storage.setItem(THEME, root.dataset.theme));
  });
  showMade();
  plan();
})();
