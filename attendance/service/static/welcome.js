"use strict";

// Without this script the form still works: the browser then shows the answer as it comes.
const form = document.getElementById("verify");
const result = document.getElementById("result");

function show(kind, headline, lines) {
  result.className = kind;
  result.replaceChildren();
  const strong = document.createElement("strong");
  strong.textContent = headline;
  result.append(strong);
  for (const line of lines) {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    result.append(paragraph);
  }
}

function showAnswer(answer) {
  const places = (number) => number.toFixed(3);
  show(
    answer.match ? "match" : "other",
    answer.match ? "The same person" : "Different people",
    [
      `Distance ${places(answer.distance)} (${answer.metric}); up to ${places(answer.threshold)} is a match.`,
      `Similarity ${places(answer.similarity)}, a cosine and no probability. ` +
        `Of pairs of different people, ${answer.far * 1000} in 1,000 match. Model ${answer.model}.`,
    ],
  );
}

async function compare() {
  const token = document.getElementById("token");
  const headers = token ? { Authorization: `Bearer ${token.value.trim()}` } : {};
  const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers });
  const answer = await response.json();
  if (response.ok) {
    showAnswer(answer);
  } else {
    show("problem", answer.title, [answer.detail]);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  show("", "Comparing ...", []);
  try {
    await compare();
  } catch {
    show("problem", "No answer", ["The service could not be reached, or refused the request before it had arrived."]);
  } finally {
    button.disabled = false;
  }
});
