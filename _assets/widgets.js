// Between require.js and the widget manager: modules and fonts are looked up beside this file.
require.config({ baseUrl: new URL("vendor/", document.currentScript.src).href });

// The widget manager typesets labels by the interface of MathJax 2; the page has MathJax 3.
addEventListener("load", () => {
  if (window.MathJax && MathJax.typesetPromise) {
    MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
  }
});
