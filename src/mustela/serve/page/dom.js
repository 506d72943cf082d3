// The page's elements, made and found.

export const byId = (id) => document.getElementById(id);

/** An element with properties (`class`, `text`, `aria-…`, `on…` listeners, `color`) and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "key") element.dataset.key = value;
    else if (key === "color") element.style.setProperty("--c", value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** One of the icons of the page. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Make the radios in a group work by keys: arrows go to the next and choose it, Tab passes the group. */
export function radios(group, choose) {
  const all = () =>
    [...group.querySelectorAll('[role="radio"]')].filter((radio) => !radio.hidden && !radio.disabled);
  group.addEventListener("click", (event) => {
    const radio = event.target.closest('[role="radio"]');
    if (radio) choose(radio);
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const list = all();
    const next = list[(list.indexOf(document.activeElement) + step + list.length) % list.length];
    next.focus();
    choose(next);
  });
}

/** Show which radio of a group is chosen. */
export function check(group, chosen) {
  for (const radio of group.querySelectorAll('[role="radio"]')) {
    radio.setAttribute("aria-checked", String(chosen(radio)));
    radio.tabIndex = chosen(radio) ? 0 : -1;
  }
}
