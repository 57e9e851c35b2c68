/* Sets the theme before the first paint: the choice that was made here, else the system's. */
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "dark" : "light");
  };
  system.addEventListener("change", apply);
  document.addEventListener("themechoice", (event) => {
    try {
      if (event.detail === (system.matches ? "dark" : "light")) localStorage.removeItem("theme");
      else localStorage.setItem("theme", event.detail);
    } catch {
      document.documentElement.dataset.theme = event.detail;
      return;
    }
    apply();
  });
  apply();
})();
