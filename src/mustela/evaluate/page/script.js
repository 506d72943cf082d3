for (const select of document.querySelectorAll("select.pairs")) {
  const show = () => {
    for (const pair of document.querySelectorAll(".pair")) {
      if (pair.dataset.section === select.dataset.section) pair.hidden = pair.dataset.pair !== select.value;
    }
  };
  select.addEventListener("change", show);
  show();
}
