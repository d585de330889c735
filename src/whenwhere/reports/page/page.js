"use strict";
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const SLACK = 1e-3; // seconds: players round the time they are told to go to
  const duration = Number(document.body.dataset.duration);
  const video = one("video");
  const still = one("#still");
  const list = one("#events");
  const lanes = one(".lanes");
  const head = one(".head");
  const search = one("#search");
  const bars = all(".bar");
  const events = all("#events > li").map((item, index) => ({
    item,
    bar: bars[index],
    start: Number(item.dataset.start),
    end: Number(item.dataset.end),
    words: item.querySelector(".text").textContent.toLocaleLowerCase(),
    current: false,
  }));
  let selected = 0; // the event from which the keys go to the next and the one before
  let now = 0; // seconds

  // The embedded video is kept as text and played from memory, as browsers limit the length of data addresses.
  function play_from_page() {
    const kept = one("#video-data");
    const text = kept.textContent.trim();
    const pieces = [];
    for (let i = 0; i < text.length; i += 1 << 20) {
      pieces.push(Uint8Array.from(atob(text.slice(i, i + (1 << 20))), (c) => c.charCodeAt(0)));
    }
    kept.remove();
    video.src = URL.createObjectURL(new Blob(pieces, { type: kept.dataset.type }));
  }

  function clock(seconds) {
    const tenths = Math.round(seconds * 10);
    const whole = Math.floor(tenths / 10);
    const pad = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    return `${hours ? `${hours}:${pad(minutes)}` : minutes}:${pad(whole % 60)}.${tenths % 10}`;
  }

  function show(seconds) {
    now = seconds;
    if (head) head.style.left = `${Math.min(100, (100 * seconds) / duration)}%`;
    let first = null;
    for (const event of events) {
      const current = event.start <= seconds + SLACK && (seconds + SLACK < event.end || seconds <= event.start + SLACK);
      if (current && first === null) first = event;
      if (current === event.current) continue;
      event.current = current;
      event.item.classList.toggle("current", current);
      event.bar.classList.toggle("current", current);
      if (current) event.item.setAttribute("aria-current", "true");
      else event.item.removeAttribute("aria-current");
      if (current && first === event) {
        pick(events.indexOf(event));
        if (!list.matches(":hover")) reveal(event);
      }
    }
  }

  // Scrolls the list alone, never the page: on a small screen the list is part of the page and stays where it is.
  function reveal({ item }) {
    if (list.scrollHeight <= list.clientHeight + 1) return;
    const top = item.offsetTop;
    if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = top - 24;
    }
  }

  // Makes an event the one bar that the tab key stops at.
  function pick(index) {
    bars[selected].tabIndex = -1;
    selected = index;
    bars[selected].tabIndex = 0;
  }

  function go(seconds) {
    const to = Math.max(0, Math.min(duration, seconds));
    if (video) video.currentTime = to;
    show(to);
  }

  function select(index, focus) {
    if (!events.length) return;
    go(events[index].start);
    pick(index);
    reveal(events[index]);
    if (focus) bars[index].focus();
    const picture = events[index].item.querySelector("img");
    if (still && picture) {
      still.src = picture.src;
      still.alt = events[index].item.querySelector(".text").textContent;
    }
  }

  // The next event in a direction that the search has not put aside, or the same when there is none.
  function neighbour(step) {
    let index = selected + step;
    while (index >= 0 && index < events.length && events[index].item.hidden) index += step;
    return index >= 0 && index < events.length ? index : selected;
  }

  function filter() {
    const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const event of events) {
      const match = words.every((word) => event.words.includes(word));
      event.item.hidden = !match;
      event.bar.classList.toggle("dim", !match);
      found += match;
    }
    one("#found").value = words.length ? `${found} of ${events.length}` : String(events.length);
    one("#nothing").hidden = found > 0 && events.length > 0;
  }

  events.forEach(({ item, bar }, index) => {
    item.firstElementChild.addEventListener("click", () => select(index, false));
    bar.addEventListener("click", () => select(index, false));
    bar.addEventListener("keydown", (key) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key.key];
      if (!step) return;
      key.preventDefault();
      select(neighbour(step), true);
    });
  });
  search.addEventListener("input", filter);

  if (lanes) {
    const ghost = one(".ghost");
    const at = (pointer) => {
      const { left, width } = lanes.getBoundingClientRect();
      return (duration * Math.max(0, Math.min(width, pointer.clientX - left))) / width;
    };
    lanes.addEventListener("click", (pointer) => {
      if (!pointer.target.closest(".bar")) go(at(pointer));
    });
    lanes.addEventListener("pointermove", (pointer) => {
      if (pointer.pointerType === "touch") return;
      ghost.hidden = false;
      ghost.style.left = `${(100 * at(pointer)) / duration}%`;
      ghost.firstElementChild.textContent = clock(at(pointer));
    });
    lanes.addEventListener("pointerleave", () => { ghost.hidden = true; });
  }

  document.addEventListener("keydown", (key) => {
    if (key.ctrlKey || key.metaKey || key.altKey) return;
    if (key.target === search) {
      if (key.key === "Escape") { search.value = ""; filter(); search.blur(); }
      return;
    }
    if (key.key === "/") { key.preventDefault(); search.focus(); }
    if (key.key === "n") select(now < events[0]?.start ? neighbour(0) : neighbour(1), false);
    if (key.key === "p") select(neighbour(-1), false);
  });

  if (video) {
    const follow = () => {
      show(video.currentTime);
      if (!video.paused && !video.ended) requestAnimationFrame(follow);
    };
    video.addEventListener("play", follow);
    for (const name of ["timeupdate", "seeked", "pause"]) video.addEventListener(name, () => show(video.currentTime));
    video.addEventListener("error", () => { one("#trouble").hidden = false; });
    if (one("#video-data")) play_from_page();
    else if (video.error) one("#trouble").hidden = false; // it failed before this script ran
    for (const track of video.textTracks) track.mode = "showing";
  }
  filter();
  show(0);
})();
