"""The page itself: what `lightdiff.play` computes, shown by Gradio. Nothing else imports Gradio."""
