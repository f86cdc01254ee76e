// Elements of the page. Whatever comes from outside is inserted as text, never as markup.

export const get = (id) => document.getElementById(id);

export const say = (id, text) => {
  if (get(id).textContent !== text) get(id).textContent = text;
};

export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((item) => item !== null && item !== ""));
  return element;
}

export function button(className, label, act) {
  const element = make("button", className, label);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}
