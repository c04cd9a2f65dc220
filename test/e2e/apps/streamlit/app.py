import streamlit as st

st.title("Proof")
if st.button("Press"):
    st.write(f"pressed, {6 * 7}")
