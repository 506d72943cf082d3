// The theme: as the system, light or dark, remembered on this machine.

import { byId } from "./dom.js";

const KEY = "mustela-theme";
const NAMES = { auto: "as the system", light: "light", dark: "dark" };

export function startTheme() {
  const button = byId("theme");
  let theme = localStorage.getItem(KEY) ?? "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${NAMES[theme]}`);
    button.title = `Colours: ${NAMES[theme]}`;
    button.querySelector("use").setAttribute("href", `#i-theme-${theme}`);
  };
  button.addEventListener("click", () => {
    const names = Object.keys(NAMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    localStorage.setItem(KEY, theme);
    show();
  });
  show();
}
