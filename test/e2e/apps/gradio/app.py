import os

import gradio as gr

with gr.Blocks(title="Proof") as demo:
    name = gr.Textbox(label="Name", elem_id="name")
    said = gr.Textbox(label="Said", elem_id="said")
    button = gr.Button("Greet", elem_id="greet")
    button.click(lambda text: f"hello {text}", inputs=name, outputs=said)

demo.launch(
    server_name="127.0.0.1",
    server_port=int(os.environ["PORT"]),
    root_path=os.environ["BASE_PATH"],
    quiet=True,
)
