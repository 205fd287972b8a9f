"use strict";
{
  const by = (id) => document.getElementById(id);
  const choices = ["by-verdict", "by-question", "by-group"].map(by);
  const apply = () => {
    const [verdict, question, group] = choices.map((choice) => choice.value);
    let shown = 0;
    for (const asked of document.querySelectorAll(".asked")) {
      let own = 0;
      for (const column of asked.querySelectorAll(".column")) {
        column.hidden = group !== "" && column.dataset.group !== group;
        for (const answer of column.querySelectorAll(".answer")) {
          answer.hidden = verdict !== "" && !answer.dataset.labels.split("\n").includes(verdict);
          own += !answer.hidden && !column.hidden;
        }
      }
      asked.hidden = own === 0 || (question !== "" && asked.dataset.question !== question);
      shown += asked.hidden ? 0 : own;
    }
    by("shown").textContent = `${shown} answers`;
  };
  choices.forEach((choice) => choice.addEventListener("change", apply));
  by("hide").addEventListener("click", () => {
    document.querySelectorAll(".answer[open]").forEach((answer) => answer.removeAttribute("open"));
  });
  apply();
}
