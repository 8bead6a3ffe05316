/* Runs before the first paint, so it is no module: puts the chosen theme on <html>. */
(() => {
  try {
    const theme = localStorage.getItem("tiebreak:theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    /* storage is blocked: the system setting stands */
  }
})();
