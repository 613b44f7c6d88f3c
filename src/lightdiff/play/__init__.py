"""What the page of play.py does with a trained model. The functions here are plain Python; room `page` shows them by Gradio."""
