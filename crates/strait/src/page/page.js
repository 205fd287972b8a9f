"use strict";
const plots = document.querySelectorAll(".plot");
for (const plot of plots) {
  const { data, layout, config } = JSON.parse(plot.nextElementSibling.textContent);
  Plotly.newPlot(plot, data, layout, config);
}
// Paper has another width than the window.
const fit = () => plots.forEach((plot) => Plotly.Plots.resize(plot));
addEventListener("beforeprint", fit);
addEventListener("afterprint", fit);
