// Runs before anything is drawn, so that a chosen theme does not flash.
try {
  const theme = localStorage.getItem("cofire-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // the theme is then that of the system
}
